"""Counts of events as images: polarity, strength, background."""

from __future__ import annotations

import numpy as np
import pytest

from pictures.boxes import DARK, LIGHT
from pictures.events import count_histogram, counts_to_image


def test_a_histogram_has_its_off_events_first():
    histogram = np.zeros((20, 12, 16), np.uint8)
    histogram[[0, 9], 7, 8], histogram[10, 1, 2] = 200, 3
    on, off = count_histogram(histogram)
    assert (off[7, 8], on[1, 2], on.sum(), off.sum()) == (400, 3, 3, 400)
    with pytest.raises(ValueError, match=r"\(2 \* bins, H, W\).*\(12, 16\)"):
        count_histogram(histogram[0])


@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_colours_tell_on_from_off_and_grow_with_the_count(theme):
    on, off = np.array([[0, 1, 9, 0, 0]]), np.array([[0, 0, 0, 1, 9]])
    nothing, on_1, on_9, off_1, off_9 = counts_to_image(on, off, theme)[0].astype(int)
    assert tuple(nothing) == theme.background
    for one, nine in ((on_1, on_9), (off_1, off_9)):
        assert np.abs(nine - nothing).sum() > np.abs(one - nothing).sum() > 60
    assert on_9[2] > on_9[0] and off_9[0] > off_9[2]  # blue, orange
