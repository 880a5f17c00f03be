"""Series of shots as images, contact sheets and videos."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from eventcam.errors import EventDataError
from eventcam.render.sources import Footage, Shot
from eventcam.windows import WINDOW_US
from pictures.boxes import DARK, BoxSet, Theme
from pictures.events import counts_to_image
from pictures.frame import draw_frame, zoom_for
from pictures.sheet import contact_sheet, write_image
from pictures.text import with_title
from pictures.video import write_video

FRAMES_PER_SECOND = 1e6 / WINDOW_US
SHEET_IMAGES = 12
_SHEET_WIDTH = 480  # px of one picture
_VIDEO_WIDTH = 480  # encoding takes far longer than drawing


def shot_images(
    footage: Footage,
    predictions: Mapping[int, BoxSet] | None = None,
    theme: Theme = DARK,
    times_us: Iterable[int] | None = None,
    width: int = 640,
) -> Iterator[np.ndarray]:
    """RGB images of all shots, or of those at ``times_us``.

    Args:
        footage: what to show.
        predictions: boxes with scores by the time of their shot; without an entry: none there.
        theme: colours.
        times_us: which shots; None for all.
        width: px, reached as nearly as a whole-number enlargement can.
    """
    wanted = None if times_us is None else set(times_us)
    for shot in footage.shots:
        if wanted is not None and shot.time_us not in wanted:
            continue
        yield draw_frame(
            counts_to_image(*shot.counts, theme),
            truth=shot.truth,
            predictions=None if predictions is None else predictions.get(shot.time_us, BoxSet()),
            class_names=footage.class_names,
            theme=theme,
            zoom=zoom_for(footage.width, width),
            caption=_caption(shot),
            smooth=False,
            is_steady=wanted is None,  # all shots are a video
        )


def _caption(shot: Shot) -> str:
    """When it is, and whether nothing is known about what is there."""
    if shot.time_us < 0:  # padding after the end of a recording
        return "after the end"
    return f"{shot.time_us / 1e6:.2f} s{'' if shot.truth is not None else ', not labelled'}"


def is_video(out: Path) -> bool:
    """Whether to write a video (.mp4) or a contact sheet (.png).

    Raises:
        EventDataError: another suffix.
    """
    if out.suffix.lower() not in (".mp4", ".png"):
        raise EventDataError(f"{out} must end in .png (contact sheet) or .mp4 (video).")
    return out.suffix.lower() == ".mp4"


def write_footage(
    footage: Footage,
    out: Path,
    predictions: Mapping[int, BoxSet] | None = None,
    theme: Theme = DARK,
    title: str = "",
    images: int = SHEET_IMAGES,
) -> int:
    """Write a video (.mp4, at real speed) or a contact sheet (.png).

    Args:
        footage: what to show.
        out: the file.
        predictions: boxes with scores by the time of their shot.
        theme: colours.
        title: a line above the pictures; none if empty.
        images: at most so many shots in a contact sheet, evenly spread over those with labels.

    Returns:
        Number of images in it.

    Raises:
        EventDataError: another suffix, or videos cannot be written here.
    """
    if is_video(out):
        shown = shot_images(footage, predictions, theme, width=_VIDEO_WIDTH)
        titled = (with_title(image, title, theme.truth, theme.background) for image in shown)
        return write_video(out, titled, FRAMES_PER_SECOND)
    times = footage.known_us if len(footage.known_us) else footage.times_us
    places = np.linspace(0, len(times) - 1, max(images, 1)).round().astype(int)
    chosen = times[np.unique(places)].tolist()
    shots = list(shot_images(footage, predictions, theme, chosen, _SHEET_WIDTH))
    sheet = contact_sheet(shots, math.ceil(math.sqrt(len(shots))), theme=theme)
    write_image(out, with_title(sheet, title, theme.truth, theme.background))
    return len(shots)
