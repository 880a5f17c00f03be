"""The command: look at everything behind a path, leave pictures, videos and JSON."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances
from tqdm import tqdm

from eventcam.render.footage import FRAMES_PER_SECOND
from pictures.events import count_histogram, counts_to_image
from pictures.frame import draw_frame, zoom_for
from pictures.sheet import write_image
from pictures.video import write_video
from smalldet.predict.footage import Footage, open_footage
from smalldet.predict.images import ImagePredictor, read_image
from smalldet.predict.inputs import Inputs, Video, find_inputs, is_image
from smalldet.predict.loading import Predictor
from smalldet.predict.outputs import Results, box_set, picture, results_file, truth_beside
from smalldet.predict.recordings import EventPredictor

JSON = "predictions.json"
WRITABLE = (".jpg", ".jpeg", ".png", ".webp")  # others become .png
EVENT_WIDTH = 640  # px of a video of events, as nearly as whole-number enlargement can


@dataclass(frozen=True)
class Options:
    """What to do with detections.

    Attributes:
        out: folder for what is written.
        min_score: detections below it are left out.
        save_json: write :data:`JSON`, too.
        show_truth: draw labels, dashed, where there are some.
    """

    out: Path
    min_score: float = 0.3
    save_json: bool = False
    show_truth: bool = False


@dataclass
class Summary:
    """What was done.

    Attributes:
        written: files.
        frames: images, frames or windows that were looked at, in ``seconds`` (without drawing).
        boxes: found in them.
        unreadable: a sentence about each input that could not be read, or not to its end.
        others: files of other kinds.
        min_score: boxes below it were left out.
    """

    written: list[Path] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    boxes: int = 0
    unreadable: list[str] = field(default_factory=list)
    others: int = 0
    min_score: float = 0.0

    @contextmanager
    def clock(self) -> Iterator[None]:
        """The block is part of detection."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    def count(self, found: Instances) -> None:
        """One more image has these detections."""
        self.frames += 1
        self.boxes += len(found)

    @contextmanager
    def attempt(self, path: Path) -> Iterator[None]:
        """The block looks at one input; where that fails, it is said, and the next can follow."""
        try:
            yield
        except (OSError, ValueError) as error:
            text = str(error)
            self.unreadable.append(text if path.name in text else f"{path}: {text}")

    def __str__(self) -> str:
        rate = self.frames / self.seconds if self.seconds else 0.0
        shown = [str(path) for path in self.written[:4]]
        shown += [f"and {len(self.written) - 4} more"] * (len(self.written) > 4)
        lines = [
            f"{self.boxes} boxes on {self.frames} images, {rate:.1f} images a second",
            *[f"no box has a score of {self.min_score:g} or more: --score draws less sure ones"]
            * (self.frames > self.boxes == 0),
            *[f"left out: {self.others} files of other kinds"] * bool(self.others),
            *(f"left out: {reason}" for reason in self.unreadable),
            *[f"{len(self.unreadable)} inputs could not be read"] * bool(self.unreadable),
            f"written: {', '.join(shown) or 'nothing'}",
        ]
        return "\n".join(lines)


@dataclass
class Job:
    """One call of the command, as its parts need it."""

    names: Sequence[str]
    options: Options
    results: Results
    summary: Summary = field(default_factory=Summary)

    def take(self, found: Instances, source: Path, number: int, **place: Any) -> None:
        """Count and record the detections of one image or frame of ``source``."""
        self.summary.count(found)
        self.results({"image_id": number, "file_name": source.name, **place}, found)


def predict_all(predictor: Predictor, pattern: str, options: Options) -> Summary:
    """Write pictures (of images) and videos (of videos and recordings) with boxes.

    An input that cannot be read is left out, and named in the summary.

    Args:
        predictor: of images or of recordings.
        pattern: a file, a folder or a glob pattern.
        options: see there.

    Raises:
        ValueError: nothing is there that this predictor can look at, or what would be written is
            what is read.
    """
    inputs = find_inputs(pattern)
    wanted = _of_its_kind(predictor, inputs, pattern)
    targets = target_files(wanted, options.out)
    file = options.out / JSON
    opened = (
        results_file(file, predictor.class_names) if options.save_json else nullcontext(_nowhere)
    )
    with opened as results:
        job = Job(
            predictor.class_names,
            options,
            results,
            Summary(others=inputs.others, min_score=options.min_score),
        )
        if isinstance(predictor, ImagePredictor):
            _look_at_images(predictor, inputs.images, targets, job)
            _look_at_videos(predictor, inputs.videos, targets, job)
        else:
            _look_at_recordings(predictor, inputs.recordings, targets, job)
    job.summary.written += [file] * options.save_json
    return job.summary


def _nowhere(identity: Mapping[str, Any], found: Instances) -> None:
    """Detections that are not kept."""


def _of_its_kind(predictor: Predictor, inputs: Inputs, pattern: str) -> list[Path]:
    """The inputs that the predictor can look at; there are some."""
    pictures, recordings = [*inputs.images, *inputs.videos], list(inputs.recordings)
    on_images = isinstance(predictor, ImagePredictor)
    wanted = pictures if on_images else recordings
    if not wanted:
        kinds = ("images or videos", "event recordings")
        wants, there = kinds if on_images else kinds[::-1]
        raise ValueError(f"The run looks at {wants}, but {pattern} holds {there}.")
    return wanted


def target_files(sources: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Where the picture or video of each source goes.

    Where several would get one name, each has its folder and its own ending in the name, too.

    Raises:
        ValueError: a source would be overwritten, or two would still get one name.
    """
    plain = {source: _target_name(source) for source in sources}
    often = Counter(plain.values())
    targets = {
        source: out / (_longer_name(source, name) if often[name] > 1 else name)
        for source, name in plain.items()
    }
    if len({*targets.values()}) < len(targets):
        raise ValueError("Inputs of one name lie in folders of one name: predict them one by one.")
    for source, target in targets.items():
        if target.resolve() == source.resolve():
            raise ValueError(f"{source} would be overwritten: name another folder with --out.")
    return targets


def _longer_name(source: Path, name: str) -> str:
    ending = "" if source.suffix == Path(name).suffix else Path(name).suffix
    return f"{source.resolve().parent.name}_{source.name}{ending}"


def _target_name(source: Path) -> str:
    suffix = source.suffix.lower()
    if suffix in WRITABLE:
        return source.name
    return f"{source.stem}{'.png' if is_image(source) else '.mp4'}"


def _look_at_images(
    predictor: ImagePredictor, paths: Sequence[Path], targets: Mapping[Path, Path], job: Job
) -> None:
    for number, path in enumerate(tqdm(paths, unit="image", disable=len(paths) < 2)):
        with job.summary.attempt(path):
            image = read_image(path, "RGB", "RGB")
            with job.summary.clock():
                found = predictor.predict(image, "RGB", job.options.min_score)
            job.take(found, path, number)
            truth = truth_beside(path, job.names) if job.options.show_truth else None
            write_image(targets[path], picture(image, found, job.names, truth))
            job.summary.written.append(targets[path])


def _look_at_videos(
    predictor: ImagePredictor, paths: Sequence[Path], targets: Mapping[Path, Path], job: Job
) -> None:
    for path in paths:
        with job.summary.attempt(path):
            video = Video.open(path)
            frames = _frames(predictor, video, job)
            read = write_video(targets[path], frames, video.frames_per_second)
            job.summary.written.append(targets[path])
            video.check_end(read)


def _frames(predictor: ImagePredictor, video: Video, job: Job) -> Iterator[np.ndarray]:
    for number, frame in enumerate(
        tqdm(video, video.path.name, video.frames or None, unit="frame")
    ):
        with job.summary.clock():
            found = predictor.predict(frame, "RGB", job.options.min_score)
        job.take(found, video.path, number)
        yield picture(frame, found, job.names, is_steady=True)


def _look_at_recordings(
    predictor: EventPredictor, paths: Sequence[Path], targets: Mapping[Path, Path], job: Job
) -> None:
    for path in paths:
        with job.summary.attempt(path):
            footage = open_footage(path, predictor, job.options.min_score)
            write_video(targets[path], _windows(footage, path, job), FRAMES_PER_SECOND)
            job.summary.written.append(targets[path])
            next(footage.frames, None)  # behind the last one, it says what could not be read


def _windows(footage: Footage, path: Path, job: Job) -> Iterator[np.ndarray]:
    for number in tqdm(range(footage.steps), path.name, unit="window"):
        with job.summary.clock():
            frame = next(footage.frames)
        job.take(frame.instances, path, number, time_us=frame.time_us)
        yield draw_frame(
            counts_to_image(*count_histogram(frame.histogram)),
            footage.truth(frame.time_us) if job.options.show_truth else None,
            box_set(frame.instances),
            job.names,
            zoom=zoom_for(frame.histogram.shape[2], EVENT_WIDTH),
            caption=f"{frame.time_us / 1e6:.2f} s",
            smooth=False,
            is_steady=True,
        )
