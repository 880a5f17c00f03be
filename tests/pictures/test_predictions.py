"""Pictures of predictions show the boxes that they say they show."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from pictures.boxes import CLASS_COLOURS, BoxSet, draw_boxes
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


def edges(picture: np.ndarray) -> np.ndarray:
    """Columns of a BGR picture that hold the upright side of a box of class 1."""
    near = np.abs(picture[..., ::-1].astype(int) - CLASS_COLOURS[1]).max(-1) < 8
    return np.flatnonzero(near.sum(0) > 20)


def sheet_of(split, **how) -> np.ndarray:
    paths = (split / "truth.json", split, split / "found.json", split / "out.png")
    return cv2.imread(str(prediction_sheet(*paths, **SCENE | how)))


def test_sheet_shows_truth_left_and_strong_predictions_right(split):
    sheet = sheet_of(split)
    gap = (sheet.shape[1] - 240) // 2
    left, right = sheet[:, gap : gap + 120], sheet[:, gap + 120 : gap + 240]
    assert (edges(left).min(), edges(left).max()) == pytest.approx((20, 60), abs=1)
    assert (edges(right).min(), edges(right).max()) == pytest.approx((60, 100), abs=1)


def test_weak_predictions_are_left_out_and_all_images_fit(split):
    sheet = sheet_of(split, images=6, columns=1, min_score=0.95)
    assert edges(sheet[:, sheet.shape[1] // 2 :]).size == 0
    assert sheet.shape[0] > 2 * 120


def test_a_box_lands_where_it_belongs():
    image = np.zeros((40, 40, 3), np.uint8)
    draw_boxes(image, truth=BoxSet(np.array([[5.0, 10, 15, 15]]), np.array([0])), zoom=2)
    ys, xs = np.nonzero((image == CLASS_COLOURS[0]).all(-1)[20:])
    assert (xs.min(), xs.max()) == pytest.approx((10, 30), abs=1)
    assert (ys.min() + 20, ys.max() + 20) == pytest.approx((20, 30), abs=1)


def test_a_missing_image_is_named(split):
    (split / "é.png").unlink()
    with pytest.raises(ValueError, match=r"é\.png is missing"):
        sheet_of(split, images=2)
