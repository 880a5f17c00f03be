"""Training samples as they leave the loader, augmented: as a contact sheet or a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from eventcam.render.footage import FRAMES_PER_SECOND, is_video, shot_images
from eventcam.render.sources import sample_footage
from pictures.boxes import DARK, Theme
from pictures.sheet import contact_sheet, write_image
from pictures.text import with_title
from pictures.video import write_video

Sample = Mapping[str, Any]

_COLUMNS = 5  # steps of a sample in a sheet
_SHEET_WIDTH, _VIDEO_WIDTH = 480, 360  # px of one picture
_SECONDS = 3.0


def write_samples(
    batches: Iterable[Iterable[Sample]],
    class_names: Sequence[str],
    out: Path,
    samples: int = 4,
    seconds: float | None = None,
    theme: Theme = DARK,
) -> int:
    """Draw what a training loader yields.

    A contact sheet (.png) has a sample in each row: up to five of its steps. A video (.mp4) plays
    the first places of the batch side by side, batch after batch: streams go on, random samples
    change.

    Args:
        batches: one for each optimisation step; all samples have one size.
        class_names: by class id.
        out: the file.
        samples: at most so many.
        seconds: length of a video; None for 3 s.
        theme: colours.

    Returns:
        Number of pictures in the sheet, or of images in the video.

    Raises:
        EventDataError: another suffix, or videos cannot be written here.
    """
    if is_video(out):
        frames = _side_by_side(batches, class_names, samples, theme)
        wanted = max(1, round((_SECONDS if seconds is None else seconds) * FRAMES_PER_SECOND))
        return write_video(out, islice(frames, wanted), FRAMES_PER_SECOND)
    chosen = list(islice(chain.from_iterable(batches), max(samples, 1)))
    rows = [_some(_images(sample, class_names, theme, _SHEET_WIDTH)) for sample in chosen]
    pictures = [picture for row in rows for picture in row]
    sheet = contact_sheet(pictures, len(rows[0]), theme=theme)
    title = "training samples as augmented, one in each row    boxes: ground truth"
    write_image(out, with_title(sheet, title, theme.truth, theme.background))
    return len(pictures)


def _side_by_side(
    batches: Iterable[Iterable[Sample]], class_names: Sequence[str], samples: int, theme: Theme
) -> Iterator[np.ndarray]:
    columns = 1 if samples == 1 else 2
    for batch in batches:
        places = [
            _images(s, class_names, theme, _VIDEO_WIDTH) for s in islice(batch, max(samples, 1))
        ]
        for images in zip(*places, strict=True):
            yield contact_sheet(images, columns, theme=theme)


def _images(
    sample: Sample, class_names: Sequence[str], theme: Theme, width: int
) -> list[np.ndarray]:
    return list(shot_images(sample_footage(sample, class_names), theme=theme, width=width))


def _some(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Evenly spread ones, first and last among them."""
    places = np.linspace(0, len(images) - 1, _COLUMNS).round().astype(int)
    return [images[place] for place in np.unique(places)]
