"""Flip, zoom and rotation of representations and of boxes, as published with RVT.

Shape shorthand: T steps, C channels, H x W px of the representation, n boxes. Representations are
(T, C, H, W) of any type and are resampled to the nearest cell. Boxes are (n, 4) float32, xyxy_abs,
px of the representation, and lie within 0 to W - 1 and 0 to H - 1 (the published convention); boxes
that become flat are still returned (:func:`has_area`). Only :func:`rotate_boxes` leaves the
clipping to :func:`clip_boxes`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class Window(NamedTuple):
    """A rectangle in the representation, px; the far edges are excluded."""

    x: float
    y: float
    width: float
    height: float


def has_area(boxes: Tensor) -> Tensor:
    """(n,) bool: width and height are positive."""
    return (boxes[:, 2:] > boxes[:, :2]).all(dim=1)


def reaches_out(boxes: Tensor, window: Window) -> Tensor:
    """(n,) bool: some of the box lies outside the window's px."""
    low = boxes.new_tensor([window.x, window.y])
    high = low + boxes.new_tensor([window.width - 1, window.height - 1])
    return (boxes[:, :2] < low).any(dim=1) | (boxes[:, 2:] > high).any(dim=1)


def clip_boxes(boxes: Tensor, width: int, height: int) -> Tensor:
    """Boxes cut at the border of a frame."""
    limit = boxes.new_tensor([width - 1, height - 1] * 2)
    return torch.minimum(boxes.clamp(min=0), limit)


def flip_events(events: Tensor) -> Tensor:
    """Left becomes right."""
    return events.flip(-1)


def flip_boxes(boxes: Tensor, width: int) -> Tensor:
    """Boxes after :func:`flip_events`; column x becomes ``width`` - 1 - x."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - 1 - right, top, width - 1 - left, bottom], dim=1)


def zoom_in_events(events: Tensor, window: Window) -> Tensor:
    """The window (whole px), enlarged to the full size."""
    x, y, width, height = (int(value) for value in window)
    part = events[..., y : y + height, x : x + width]
    return interpolate(part, size=tuple(events.shape[-2:]), mode="nearest-exact")


def zoom_in_boxes(boxes: Tensor, window: Window, width: int, height: int) -> Tensor:
    """Boxes of a frame of ``width`` x ``height`` px after :func:`zoom_in_events`.

    They are clipped to the window, whose last column is ``window.width`` - 1, then enlarged.
    """
    moved = boxes - boxes.new_tensor([window.x, window.y] * 2)
    limit = boxes.new_tensor([window.width - 1, window.height - 1] * 2)
    scale = boxes.new_tensor([width / window.width, height / window.height] * 2)
    return torch.minimum(moved.clamp(min=0), limit) * scale


def zoom_out_events(events: Tensor, window: Window) -> Tensor:
    """The whole representation, shrunk into the window (whole px); zeros around it."""
    x, y, width, height = (int(value) for value in window)
    zoomed = torch.zeros_like(events)
    shrunk = interpolate(events, size=(height, width), mode="nearest-exact")
    zoomed[..., y : y + height, x : x + width] = shrunk
    return zoomed


def zoom_out_boxes(boxes: Tensor, window: Window, width: int, height: int) -> Tensor:
    """Boxes of a frame of ``width`` x ``height`` px after :func:`zoom_out_events`.

    Right and bottom edges end at the last column and row of the window.
    """
    scale = boxes.new_tensor([window.width / width, window.height / height] * 2)
    limit = boxes.new_tensor([window.width - 1, window.height - 1] * 2)
    return torch.minimum(boxes * scale, limit) + boxes.new_tensor([window.x, window.y] * 2)


def rotate_events(events: Tensor, degrees: float) -> Tensor:
    """Turned about the centre, counter-clockwise as seen; zeros where nothing was."""
    height, width = events.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) - (height - 1) / 2,
        torch.arange(width, dtype=torch.float64) - (width - 1) / 2,
        indexing="ij",
    )
    column = torch.round(cos * x - sin * y + (width - 1) / 2).long()
    row = torch.round(sin * x + cos * y + (height - 1) / 2).long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    turned = events[..., row.clamp(0, height - 1), column.clamp(0, width - 1)]
    return turned * inside


def rotate_boxes(boxes: Tensor, degrees: float, width: int, height: int) -> Tensor:
    """Upright boxes around the turned ones after :func:`rotate_events`, not clipped."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x = boxes[:, [0, 2, 0, 2]] - width / 2
    y = boxes[:, [1, 1, 3, 3]] - height / 2
    column = cos * x + sin * y + width / 2
    row = cos * y - sin * x + height / 2
    edges = (column.amin(1), row.amin(1), column.amax(1), row.amax(1))
    return torch.stack(edges, dim=1)
