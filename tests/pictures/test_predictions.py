"""Pictures of predictions show the boxes that they say they show."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from pictures.boxes import CLASS_COLOURS, DARK, LIGHT
from pictures.predictions import prediction_sheet

SCENE = dict(images=1, tile=120)  # px; the images are 60 px wide


@pytest.fixture
def split(tmp_path):
    """Two grey images, one with a box, and two predictions on it, one of them weak."""
    cv2.imwrite(str(tmp_path / "a b.png"), np.full((40, 60, 3), 128, np.uint8))
    cv2.imwrite(str(tmp_path / "é.png"), np.full((40, 60, 3), 128, np.uint8))
    images = [{"id": 3, "file_name": "é.png"}, {"id": 7, "file_name": "a b.png"}]
    box = {"image_id": 7, "category_id": 1, "bbox": [10, 20, 20, 15]}
    truth = {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "head"}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    strong = {**box, "bbox": [30, 20, 20, 15], "score": 0.9}
    (tmp_path / "found.json").write_text(json.dumps([strong, {**strong, "score": 0.1}]))
    return tmp_path


def columns_of(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Columns of a BGR picture that hold an upright side in a colour (RGB)."""
    near = np.abs(picture[..., ::-1].astype(int) - colour).max(-1) < 8
    return np.flatnonzero(near.sum(0) > 15)


def sheet_of(split, **how) -> np.ndarray:
    paths = (split / "truth.json", split, split / "found.json", split / "out.png")
    return cv2.imread(str(prediction_sheet(*paths, read, **SCENE | how)))


def read(path) -> np.ndarray:
    if not path.exists():
        raise ValueError(f"{path} is missing.")
    return cv2.imread(str(path))[..., ::-1]


def test_truth_is_dashed_and_strong_predictions_solid_in_the_colour_of_their_class(split):
    sheet = sheet_of(split)
    gap = (sheet.shape[1] - 120) // 2
    truth, found = columns_of(sheet, DARK.truth), columns_of(sheet, CLASS_COLOURS[0])
    assert (truth.min() - gap, truth.max() - gap) == pytest.approx((20, 60), abs=1)
    assert (found.min() - gap, found.max() - gap) == pytest.approx((60, 100), abs=1)


def test_weak_predictions_are_left_out_and_all_images_fit(split):
    sheet = sheet_of(split, images=6, columns=1, min_score=0.95)
    assert columns_of(sheet, CLASS_COLOURS[0]).size == 0
    assert sheet.shape[0] > 2 * 80
    assert sheet_of(split, theme=LIGHT)[0, 0].min() == 255


def test_a_missing_image_is_named(split):
    (split / "é.png").unlink()
    with pytest.raises(ValueError, match=r"é\.png is missing"):
        sheet_of(split, images=2)
