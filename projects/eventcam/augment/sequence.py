"""Augmentation of event sequences: what is drawn, and doing it alike to all steps.

The parameters are those published with RVT (Gehrig and Scaramuzza, CVPR 2023): horizontal flip,
then rotation (off), then zooming in or out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from eventcam.augment import ops
from eventcam.augment.ops import Window
from eventcam.sampling.spans import random_state

_AUGMENT = 3  # keeps the generator apart from those of the order


@dataclass(frozen=True)
class AugmentSettings:
    """Probabilities and ranges; the defaults are the published ones for random access.

    Attributes:
        flip: probability of a horizontal flip.
        rotate: probability of a rotation, to either side.
        rotate_degrees: its smallest and largest angle.
        zoom: probability of a zoom.
        zoom_in_share: of the zooms, how many are zooms in.
        zoom_in_factor: smallest and largest.
        zoom_out_factor: smallest and largest.
    """

    flip: float = 0.5
    rotate: float = 0.0
    rotate_degrees: tuple[float, float] = (2.0, 6.0)
    zoom: float = 0.8
    zoom_in_share: float = 0.8
    zoom_in_factor: tuple[float, float] = (1.0, 1.5)
    zoom_out_factor: tuple[float, float] = (1.0, 1.2)


RANDOM_ACCESS = AugmentSettings()
# In a stream nothing may leave the view for good, so there is no zooming in.
STREAMING = AugmentSettings(zoom=0.5, zoom_in_share=0.0)


class Draw(NamedTuple):
    """What is done to one sequence.

    Attributes:
        flip: horizontally.
        degrees: of rotation, counter-clockwise; 0 is none.
        zoom: factor; above 1 zooms in, below 1 zooms out, 1 is none.
        across: where the window of a zoom lies between its limits in x, in [0, 1).
        down: the same in y.
        target: which box a zoom in follows, in [0, 1).
    """

    flip: bool
    degrees: float
    zoom: float
    across: float
    down: float
    target: float


class BoxCounts(NamedTuple):
    """What augmentation did to the boxes of a sequence.

    Attributes:
        dropped: left without area.
        clipped: cut at the border of the view, and kept. The part of a px by which a zoom out
            ends boxes in the last column or row does not count.
    """

    dropped: int
    clipped: int


def draw(settings: AugmentSettings, seed: int, *counter: int) -> Draw:
    """What to do to the sequence ``counter``: a function of the arguments only."""
    flip, rotate, angle, side, zoom, inwards, factor, *place = (
        random_state(seed, _AUGMENT, *counter).random_sample(10).tolist()
    )
    degrees = 0.0
    if rotate < settings.rotate:
        degrees = math.copysign(_between(settings.rotate_degrees, angle), side - 0.5)
    scale = 1.0
    if zoom < settings.zoom and inwards < settings.zoom_in_share:
        scale = _between(settings.zoom_in_factor, factor)
    elif zoom < settings.zoom:
        scale = 1 / _between(settings.zoom_out_factor, factor)
    return Draw(flip < settings.flip, degrees, scale, *place)


def augment(
    events: Tensor, boxes: Sequence[Tensor | None], classes: Sequence[Tensor | None], drawn: Draw
) -> tuple[Tensor, list[Tensor | None], list[Tensor | None], BoxCounts]:
    """One draw applied to all steps of a sequence.

    A labelled step whose boxes all leave the view is labelled and empty.

    Args:
        events: (T, C, H, W).
        boxes: T entries, (n, 4) float32 xyxy_abs, px of ``events``; None = unlabelled.
        classes: T entries, (n,) int64 or None.
        drawn: see :func:`draw`.

    Returns:
        The same three, augmented, and what became of the boxes.
    """
    height, width = events.shape[-2:]
    steps = enumerate(zip(boxes, classes, strict=True))
    known = [(step, b, c) for step, (b, c) in steps if b is not None and c is not None]
    sizes = [len(b) for _, b, _ in known]
    moved = torch.cat([torch.zeros(0, 4), *(b for _, b, _ in known)])  # the boxes of all steps
    cut = torch.zeros(len(moved), dtype=torch.bool)
    if drawn.flip:
        events, moved = ops.flip_events(events), ops.flip_boxes(moved, width)
    if drawn.degrees:
        events = ops.rotate_events(events, drawn.degrees)
        moved = ops.rotate_boxes(moved, drawn.degrees, width, height)
        cut = ops.reaches_out(moved, Window(0, 0, width, height))
        moved = ops.clip_boxes(moved, width, height)
    if drawn.zoom < 1:
        window = zoom_out_window(drawn, width, height)
        events = ops.zoom_out_events(events, window)
        moved = ops.zoom_out_boxes(moved, window, width, height)
    elif drawn.zoom > 1 and (target := zoom_target(moved.split(sizes), drawn)) is not None:
        window = zoom_in_window(drawn, target, width, height)
        events = ops.zoom_in_events(events, window)
        cut = cut | ops.reaches_out(moved, window)
        moved = ops.zoom_in_boxes(moved, window, width, height)
    kept = ops.has_area(moved)
    counts = BoxCounts(dropped=int((~kept).sum()), clipped=int((kept & cut).sum()))
    left: list[Tensor | None] = [None] * len(boxes)
    left_classes = left.copy()
    for (step, _, c), b, keep in zip(known, moved.split(sizes), kept.split(sizes), strict=True):
        left[step], left_classes[step] = b[keep], c[keep]
    return events, left, left_classes, counts


def zoom_target(boxes: Sequence[Tensor], drawn: Draw) -> Tensor | None:
    """The box (4,) that a zoom in keeps in view: any of the last step that shows some.

    Each box is as likely as any other (the published code never takes the last one).
    """
    for candidates in reversed(boxes):
        if len(usable := candidates[ops.has_area(candidates)]):
            return usable[int(drawn.target * len(usable))]
    return None


def zoom_in_window(drawn: Draw, target: Tensor, width: int, height: int) -> Window:
    """A window of whole px that holds ``target`` (4,), or lies in it if that is larger."""
    x1, y1, x2, y2 = target.tolist()
    w, h = max(int(width / drawn.zoom), 1), max(int(height / drawn.zoom), 1)
    x = _position(drawn.across, x1, x2, w, width)
    return Window(x, _position(drawn.down, y1, y2, h, height), w, h)


def zoom_out_window(drawn: Draw, width: int, height: int) -> Window:
    """Where the shrunk representation lies, in whole px."""
    w, h = max(int(width * drawn.zoom), 1), max(int(height * drawn.zoom), 1)
    return Window(int(drawn.across * (width - w)), int(drawn.down * (height - h)), w, h)


def _position(fraction: float, low: float, high: float, size: int, limit: int) -> int:
    """First px of a window of ``size`` px, within ``limit`` px, around ``low`` to ``high``."""
    last = limit - size
    # One px more than the box: boxes are clipped to the window's last px, not to its border.
    earliest = min(max(math.ceil(high) + 1 - size, 0), last)
    latest = min(max(math.floor(low), 0), last)
    earliest, latest = min(earliest, latest), max(earliest, latest)
    return earliest + int(fraction * (latest - earliest + 1))


def _between(limits: tuple[float, float], fraction: float) -> float:
    low, high = limits
    return low + (high - low) * fraction
