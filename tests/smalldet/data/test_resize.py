"""The resize gives Detectron2's values, whatever the size, with and without compiled code."""

from __future__ import annotations

import numpy as np
import pytest
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from smalldet.data import resize
from smalldet.data.images import channels_first

sides = st.one_of(st.integers(1, 9), st.integers(1, 300))


def picture(height: int, width: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Noise, and edges from black to white."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, channels), np.uint8)
    return np.where(rng.random((height, 1, 1)) < 0.5, noise, 255 * (noise > 99)).astype(np.uint8)


@settings(max_examples=200, deadline=None)
@given(sides, sides, sides, sides, st.integers(0, 9))
def test_every_size_has_detectron2s_values(height, width, new_height, new_width, seed) -> None:
    assert resize.KERNEL.available()
    image = picture(height, width, seed)
    seen = resize.ResizeTransform(height, width, new_height, new_width).apply_image(image)
    oracle = T.ResizeTransform(height, width, new_height, new_width).apply_image(image)
    np.testing.assert_array_equal(seen, oracle)


@pytest.mark.parametrize("way", [None, *Image.Resampling])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_what_it_does_not_do_detectron2_does(way, channels) -> None:
    image = picture(30, 40, channels=channels or 1)
    image = image if channels else image[..., 0]
    ours, theirs = resize.ResizeTransform(30, 40, 20, 50), T.ResizeTransform(30, 40, 20, 50)
    np.testing.assert_array_equal(ours.apply_image(image, way), theirs.apply_image(image, way))
    ours.interp = theirs.interp = way
    np.testing.assert_array_equal(ours.apply_image(image), theirs.apply_image(image))


def test_views_and_floats_are_resized_as_well() -> None:
    image, floats = picture(30, 40)[:, ::-1, ::-1], picture(30, 40).astype(np.float32)
    augment = resize.Resize((20, 50))
    for one in (image, floats):
        seen = augment.get_transform(one).apply_image(one)
        np.testing.assert_array_equal(seen, T.ResizeTransform(30, 40, 20, 50).apply_image(one))


def test_without_compiled_code_the_values_are_the_same(monkeypatch) -> None:
    image = picture(48, 64)
    transform = resize.Resize(80).get_transform(image)
    seen = transform.apply_image(image)
    monkeypatch.setattr(resize.KERNEL, "why_absent", "It is switched off.")
    np.testing.assert_array_equal(transform.apply_image(image), seen)


def test_other_orders_of_pillow_are_followed(monkeypatch) -> None:
    """Up to version 12 it always changes the width first."""
    image = picture(60, 20)
    seen = {}
    for first in (False, True):
        monkeypatch.setattr(resize, "_height_first", lambda first=first: first)
        seen[first] = resize.ResizeTransform(60, 20, 10, 30).apply_image(image)
    assert np.array_equal(seen[False], resize._in_order(image, (10, 30), (1, 0)))
    assert 0 < np.abs(seen[False].astype(int) - seen[True]).max() <= 1


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_first_is_a_copy_of_any_view(kind, channels) -> None:
    image = picture(13, 17, channels=channels).astype(kind)
    views = [image, image[:, ::-1], image[::-1], image[2:9, 3:], image[..., ::-1], image[:, :1]]
    for view in [*views, image[2:, -3::-1], image.transpose(1, 0, 2)[:, ::-1]]:
        seen = channels_first(view)
        np.testing.assert_array_equal(seen, view.transpose(2, 0, 1))
        assert seen.flags["C_CONTIGUOUS"] and not np.shares_memory(seen, image)
