"""Detectron2's resize, to the same values and faster: Pillow's antialiased bilinear filter in C++.

Each pixel of the result is a weighted mean of those that a triangle around its place covers, as
wide as a step of the smaller image; in one direction, rounded to 8 bits, then in the other. Order
and weights (whole multiples of 2^-22) are those of the Pillow that is there, and so are the values.
``csrc/resize.cpp`` does it to images of 8 bits and three channels; Pillow does all others, and all
where that cannot be compiled.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import transforms as T
from PIL import Image

from nativecode import CheckedKernel, UsesKernels

_BITS = 22  # behind the point of a weight


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """``image`` (H, W, 3) uint8 as (height, width, 3)."""
    old_height, old_width = image.shape[:2]
    shrinks = old_height - height > max(0, 2 * (old_width - width))
    return _in_order(image, (height, width), (0, 1) if shrinks and _height_first() else (1, 0))


@cache
def _height_first() -> bool:
    """Whether this Pillow begins with a height that shrinks more: since version 13 it does."""
    image = np.random.default_rng(0).integers(0, 256, (60, 20, 3), np.uint8)
    return np.array_equal(_in_order(image, (10, 30), (0, 1)), _pillow(image, 10, 30))


def _in_order(image: np.ndarray, size: tuple[int, int], axes: tuple[int, int]) -> np.ndarray:
    """``image`` in another ``size``, height and width, first along the first of the ``axes``."""
    pixels = np.ascontiguousarray(image)
    for axis in axes:
        if pixels.shape[axis] != size[axis]:
            pixels = _pass(pixels, size[axis], axis)
    return pixels


def _pass(pixels: np.ndarray, size: int, axis: int) -> np.ndarray:
    near = neighbours(pixels.shape[axis], size)
    shape = list(pixels.shape)
    shape[axis] = size
    out = np.empty(shape, np.uint8)
    pointers = [array.ctypes.data for array in (pixels, out, *near)]
    function = ("resize_rows", "resize_columns")[axis]
    KERNEL.call(function, *pixels.shape[:2], *near[-1].shape, *pointers)  # struct Resize
    return out


@lru_cache(maxsize=64)
def neighbours(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which pixels of a line of ``size`` make those of one of ``new_size``, n.

    Returns:
        (n,) int32, the first of each, (n,) int32, how many, and (n, taps) int32, the weights of it
        and of those after it in 2^-22.
    """
    scale = size / new_size
    reach = max(scale, 1.0)
    centre = (np.arange(new_size) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(int), 0)
    last = np.minimum((centre + reach + 0.5).astype(int), size)
    places = first[:, None] + np.arange(math.ceil(reach) * 2 + 1)
    weights = np.maximum(1 - np.abs((places - centre[:, None] + 0.5) * (1 / reach)), 0)
    weights[places >= last[:, None]] = 0
    total = np.cumsum(weights, axis=1)[:, -1:]  # one after the other, as Pillow adds them
    fixed = 0.5 + weights / total * (1 << _BITS)
    return first.astype(np.int32), (last - first).astype(np.int32), fixed.astype(np.int32)


def _agrees() -> bool:
    image = np.random.default_rng(0).integers(0, 256, (37, 61, 3), np.uint8)
    sizes = ((64, 16), (12, 100), (37, 6), (90, 61), (30, 60), (8, 9))
    return all(np.array_equal(_resized(image, *size), _pillow(image, *size)) for size in sizes)


def _pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    shape: Any = (width, height)
    return np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BILINEAR))


KERNEL = CheckedKernel("compiled resize", _agrees, Path(__file__).with_name("csrc") / "resize.cpp")


class ResizeTransform(T.ResizeTransform):
    """Detectron2's, with another way to the same pixels."""

    interp: int
    new_h: int
    new_w: int

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """``img`` (H, W) or (H, W, C) resized by a filter of Pillow's, the transform's if None."""
        way = self.interp if interp is None else interp
        is_plain = img.dtype == np.uint8 and img.ndim == 3 and img.shape[2] == 3 and img.size > 3
        if is_plain and way == Image.Resampling.BILINEAR and KERNEL.available():
            return _resized(img, self.new_h, self.new_w)
        return super().apply_image(img, interp)


class Resize(UsesKernels, T.Resize):
    """Detectron2's ``Resize``: to ``shape`` (height and width, or both in one), px."""

    kernels = (KERNEL,)
    shape: tuple[int, int]
    interp: int

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """The resize of ``image`` (H, W, C)."""
        height, width = image.shape[:2]
        return ResizeTransform(height, width, self.shape[0], self.shape[1], self.interp)
