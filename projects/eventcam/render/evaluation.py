"""What a detector found in a recording: the boxes that an evaluation left on disk, over its events.

An evaluation leaves ``matches.npz`` with all boxes in px of the sensor, the recording and the time
of each image. Pictures are in px of the representation, which is as large or half as large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from pathlib import Path

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.arrays import load_arrays
from eventcam.io.rvt_recording import RvtRecording
from eventcam.render.footage import SHEET_IMAGES, write_footage
from eventcam.render.sources import Shot, recording_footage
from eventcam.windows import WINDOW_US
from pictures.boxes import DARK, BoxSet, Theme

# Labels may come at every second window; in a video their boxes stay until the next ones come.
_HELD_US = 2 * WINDOW_US
_IMAGES = ("image_recording", "image_timestamp_us")
_FOUND = ("det_image", "det_box", "det_class", "det_score")
_TRUTH = ("gt_image", "gt_class", "gt_det")
BEST = "best"


@dataclass(frozen=True)
class View:
    """What of an evaluation is shown.

    Attributes:
        recording: name; empty for the first one; ``BEST`` for the one of :meth:`Evaluation.best`.
        min_score: predictions below it are left out.
        start: seconds after the beginning of the recording.
        seconds: length; None until the end.
        images: at most so many in a contact sheet.
        theme: colours.
    """

    recording: str = ""
    min_score: float = 0.3
    start: float = 0.0
    seconds: float | None = None
    images: int = SHEET_IMAGES
    theme: Theme = DARK


class Evaluation:
    """The predictions in a ``matches.npz``.

    Attributes:
        recordings: names, in the order of the file.

    Raises:
        EventDataError: the file is damaged or is not of event recordings.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._names, self._times = load_arrays(file, *_IMAGES)
        self._row, self._box, self._class, self._score = load_arrays(file, *_FOUND)
        self.recordings: list[str] = list(dict.fromkeys(self._names.tolist()))
        if not any(self.recordings):
            raise EventDataError(f"{file} names no recording; it is no evaluation of recordings.")

    def predictions(self, recording: str, min_score: float = 0.0) -> dict[int, BoxSet]:
        """Boxes by time in us, px of the sensor; an entry for every time that was evaluated.

        Raises:
            EventDataError: the recording was not evaluated.
        """
        check_name(recording, self.recordings, f"were evaluated in {self.file}")
        strong = self._score >= min_score
        found = {}
        for image in np.flatnonzero(self._names == recording).tolist():
            chosen = strong & (self._row == image)
            boxes = BoxSet(self._box[chosen], self._class[chosen], self._score[chosen])
            found[int(self._times[image])] = boxes
        return found

    def best(self, min_score: float = 0.0) -> str:
        """The recording in which most objects of most classes are found, at IoU 0.5.

        Its classes' shares of found objects have the largest sum; the first of equals.
        """
        images, classes, matched = load_arrays(self.file, *_TRUTH)
        found = np.append(self._score >= min_score, False)[matched[:, 0]]
        shares: Counter[str] = Counter()
        places = self._names[images]
        for name, label in product(self.recordings, set(classes.tolist())):
            here = (places == name) & (classes == label)
            if here.any():
                shares[name] += found[here].mean()
        return max(self.recordings, key=lambda name: shares[name])


def write_evaluation(
    file: Path,
    recordings: Sequence[RvtRecording],
    class_names: Sequence[str],
    out: Path,
    view: View,
) -> str:
    """Events with ground truth and predictions as a video (.mp4) or a contact sheet (.png).

    Args:
        file: ``matches.npz`` of the evaluation.
        recordings: of the split that was evaluated.
        class_names: by class id.
        out: what to write.
        view: what to show.

    Returns:
        A line on what is in the file written.

    Raises:
        EventDataError: an unknown recording, other data than were evaluated, nothing at that time,
            or videos cannot be written here.
    """
    evaluation = Evaluation(file)
    name = view.recording or evaluation.recordings[0]
    if name == BEST:
        name = evaluation.best(view.min_score)
    in_sensor = evaluation.predictions(name, view.min_score)
    by_name = {recording.name: recording for recording in recordings}
    check_name(name, by_name, f"are in the data set of {file}")
    recording = by_name[name]
    _check_times(recording, in_sensor)
    factor = 1.0 if recording.downsample == "none" else 0.5
    found = {t: replace(boxes, boxes=boxes.boxes * factor) for t, boxes in in_sensor.items()}
    footage = recording_footage(recording, class_names, view.start, view.seconds)
    shown = [boxes for time, boxes in found.items() if time in set(footage.times_us.tolist())]
    footage = replace(footage, shots=_held_truth(footage.shots))
    held = _held_predictions(found, footage.times_us)
    title = f"{name}    dashed: ground truth    solid: found, score at least {view.min_score:g}"
    images = write_footage(footage, out, held, view.theme, title, view.images)
    total = sum(len(boxes.boxes) for boxes in shown)
    return (
        f"{out}: {images} images of {name}; {total} predictions with a score of at least "
        f"{view.min_score:g} at {len(shown)} evaluated times"
    )


def check_name(name: str, known: Collection[str], what: str) -> None:
    """Refuse a recording that is not among ``known``, with the nearest name.

    Raises:
        EventDataError: so.
    """
    if name in known:
        return
    near = get_close_matches(name, sorted(known), n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    listed = ", ".join(sorted(known)[:6]) + (", ..." if len(known) > 6 else "")
    raise EventDataError(
        f"There is no recording '{name}': {len(known)} recordings {what} ({listed}).{hint}"
    )


def _check_times(recording: RvtRecording, found: Mapping[int, BoxSet]) -> None:
    strange = set(found) - set(recording.timestamps_us.tolist())
    if strange:
        raise EventDataError(
            f"{len(strange)} of {len(found)} evaluated times are not in {recording.folder}: its "
            "data are not those that were evaluated. Evaluate again (--eval-only), or name the "
            "folder of the data."
        )


def _held_predictions(found: Mapping[int, BoxSet], times_us: np.ndarray) -> dict[int, BoxSet]:
    """For each time its boxes, or those of the last evaluated time shortly before."""
    evaluated = np.array(sorted(found), np.int64)
    places = np.searchsorted(evaluated, times_us, side="right") - 1
    return {
        time: found[int(evaluated[place])]
        for time, place in zip(times_us.tolist(), places.tolist(), strict=True)
        if place >= 0 and time - evaluated[place] < _HELD_US
    }


def _held_truth(shots: Iterator[Shot]) -> Iterator[Shot]:
    """Shots of which nothing is known get the boxes of a known one shortly before."""
    last = None
    for shot in shots:
        if shot.truth is not None:
            last = shot
        elif last is not None and shot.time_us - last.time_us < _HELD_US:
            shot = replace(shot, truth=last.truth)  # noqa: PLW2901
        yield shot
