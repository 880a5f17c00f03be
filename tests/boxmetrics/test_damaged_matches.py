"""A damaged file of matches is refused with a sentence, whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from boxmetrics.matches import Matches, save_matches
from boxmetrics.tables import BoxTable, ImageBoxes, load_columns


@pytest.fixture
def path(tmp_path: Path) -> Path:
    boxes = np.array([[0, 0, 9, 9], [2, 2, 40, 40]])
    found = dict(boxes=boxes, scores=[0.9, 0.4], classes=[0, 0])
    truth = dict(gt_boxes=boxes, gt_classes=[0, 0], gt_areas=[81, 1444], gt_crowd=[False, False])
    pictures = [ImageBoxes(n, **found, **truth) for n in range(3)]
    save_matches(BoxTable.of_images(pictures), tmp_path / "matches.npz")
    return tmp_path / "matches.npz"


CHANGES = {
    "text": ("det_score", lambda a: a.astype(str)),
    "objects": ("det_score", lambda a: a.astype(object)),
    "whole scores": ("det_score", lambda a: a.astype(int)),
    "no mask": ("gt_crowd", lambda a: a.astype(int)),
    "not finite": ("det_score", lambda a: a * np.nan),
    "too short": ("det_class", lambda a: a[:-1]),
    "a number": ("gt_class", lambda a: np.int64(3)),
    "three corners": ("gt_box", lambda a: a[:, :3]),
    "one threshold fewer": ("det_gt", lambda a: a[:, 1:]),
    "no such row": ("det_gt", lambda a: a + 10**6),
    "no such image": ("gt_image", lambda a: a - 1),
    "a class below 0": ("gt_class", lambda a: a - 1),
    "out of order": ("det_image", lambda a: a[::-1]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_array_that_does_not_fit_is_named(path, name):
    column, change = CHANGES[name]
    with np.load(path) as arrays:
        changed = {**arrays, column: change(arrays[column])}
    np.savez_compressed(path, **changed)
    with pytest.raises(ValueError, match=r"matches\.npz") as error:
        Matches.load(path)
    assert column in str(error.value) or name == "objects"


def test_damaged_bytes_are_a_sentence(path):
    sound = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(sound), 150):
        changed = bytearray(sound)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed) if at % 3 else sound[:at])
        try:
            Matches.load(path)
        except ValueError as error:
            assert "matches.npz" in str(error)


def test_columns_are_read_as_far_as_they_are_wanted(path):
    assert set(load_columns(path, Matches, ["gt_image"])) == {"gt_image"}
    with np.load(path) as arrays:
        np.savez(path, **{name: arrays[name] for name in arrays if name != "image_recording"})
    assert load_columns(path, BoxTable, ["image_recording"], required=False) == {}
    with pytest.raises(ValueError, match="image_recording"):
        BoxTable.load(path)
    with pytest.raises(ValueError, match=r"nothing\.npz"):
        Matches.load(path.with_name("nothing.npz"))
