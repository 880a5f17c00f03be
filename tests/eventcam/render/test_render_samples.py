"""Training samples as pictures: one in each row of a sheet, side by side in a video."""

from __future__ import annotations

from itertools import chain

import cv2
import numpy as np
import pytest
from sequence_toys import dataset, train_loader

from eventcam.augment.sequence import AugmentSettings
from eventcam.errors import EventDataError
from eventcam.render.samples import write_samples
from pictures.boxes import CLASS_COLOURS

STEPS, HEIGHT, WIDTH = 7, 48, 64


def sample(value: int = 0) -> dict:
    """Step 2 has a box, step 3 is known to be empty, the last one is padding."""
    boxes = [None] * STEPS
    classes = [None] * STEPS
    boxes[2], classes[2] = np.array([[16.0, 16, 48, 40]]), np.array([1])
    boxes[3], classes[3] = np.zeros((0, 4)), np.zeros(0, int)
    times = np.arange(1, STEPS + 1) * 50_000
    times[-1] = -1
    events = np.full((STEPS, 20, HEIGHT, WIDTH), value, np.uint8)
    return {"events": events, "boxes": boxes, "classes": classes, "timestamps_us": times}


def test_a_sheet_has_a_sample_in_each_row(tmp_path):
    batches = [[sample(0), sample(1)], [sample(0), sample(1)]]
    assert write_samples(batches, (), tmp_path / "s.png", samples=3) == 3 * 5
    image = cv2.imread(str(tmp_path / "s.png"))
    assert image.shape[1] == 5 * (8 * WIDTH + 6) + 6
    rows = image.shape[0] // (8 * HEIGHT + 6)
    assert rows == 3


def test_a_video_lasts_as_asked_and_goes_on_over_batches(tmp_path):
    batches = ([sample(), sample()] for _ in range(3))
    images = write_samples(batches, (), tmp_path / "s.mp4", samples=2, seconds=0.5)
    assert images == 10
    short = write_samples([[sample()]], (), tmp_path / "t.mp4", seconds=100)
    assert short == STEPS  # the loader ended


def test_the_box_of_a_sample_is_drawn_at_its_step_only(tmp_path):
    write_samples([[sample()]], (), tmp_path / "s.png", samples=1)
    image = cv2.imread(str(tmp_path / "s.png"))[:, :, ::-1].astype(int)
    top = image.shape[0] - 6 - 8 * HEIGHT
    edges = [image[top + 8 * 28, 6 + n * (8 * WIDTH + 6) + 8 * 16] for n in range(5)]
    shown = [int(np.abs(pixel - CLASS_COLOURS[1]).max()) < 8 for pixel in edges]
    assert shown == [False, True, False, False, False]  # steps 0, 2, 3, 4, 6 (evenly spread)


def test_what_the_real_loader_yields_can_be_drawn(tmp_path):
    loader = train_loader("mixed", data=dataset(), random_augment=AugmentSettings(flip=1.0))
    batches = map(chain.from_iterable, loader)
    assert write_samples(batches, ("a", "b", "c"), tmp_path / "s.png", samples=3) == 3 * 3


def test_another_suffix_is_a_sentence(tmp_path):
    with pytest.raises(EventDataError, match=r"\.png .* or \.mp4"):
        write_samples([[sample()]], (), tmp_path / "s.gif")
