"""Pictures of predictions show the boxes that they say they show."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from smalldet.vis.predictions import FOUND, TRUTH, draw_boxes, prediction_sheet


@pytest.fixture
def split(tmp_path):
    """Two grey images, one with a box, and two predictions on it, one of them weak."""
    cv2.imwrite(str(tmp_path / "a b.png"), np.full((40, 60, 3), 128, np.uint8))
    cv2.imwrite(str(tmp_path / "é.png"), np.full((40, 60, 3), 128, np.uint8))
    images = [{"id": 3, "file_name": "é.png"}, {"id": 7, "file_name": "a b.png"}]
    annotations = [{"image_id": 7, "bbox": [10, 10, 20, 15]}]
    (tmp_path / "truth.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    strong = {"image_id": 7, "bbox": [12, 11, 20, 15], "score": 0.9}
    (tmp_path / "found.json").write_text(json.dumps([strong, {**strong, "score": 0.1}]))
    return tmp_path


def has_color(picture: np.ndarray, rgb: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture[..., ::-1].astype(int) - rgb).max(-1) < 8).any())


def test_sheet_shows_truth_left_and_strong_predictions_right(split):
    arguments = (split / "truth.json", split, split / "found.json")
    sheet = cv2.imread(str(prediction_sheet(*arguments, split / "out.png", images=1, tile=120)))
    half = sheet.shape[1] // 2
    assert has_color(sheet[:, :half], TRUTH) and not has_color(sheet[:, :half], FOUND)
    assert has_color(sheet[:, half:], FOUND) and not has_color(sheet[:, half:], TRUTH)


def test_weak_predictions_are_left_out_and_all_images_fit(split):
    arguments = (split / "truth.json", split, split / "found.json")
    out = prediction_sheet(*arguments, split / "out.png", columns=1, min_score=0.95, tile=120)
    sheet = cv2.imread(str(out))
    assert not has_color(sheet, FOUND)
    assert sheet.shape[0] > 2 * 120


def test_a_box_lands_where_it_belongs():
    image = np.zeros((40, 40, 3), np.uint8)
    drawn = draw_boxes(image, [[5, 5, 10, 10]], (255, 0, 0), scale=2)
    ys, xs = np.nonzero(drawn[..., 0] > 128)
    assert (xs.min(), xs.max()) == pytest.approx((10, 30), abs=1)
    assert (ys.min(), ys.max()) == pytest.approx((10, 30), abs=1)
    assert not image.any()


def test_a_missing_image_is_named(split):
    (split / "é.png").unlink()
    with pytest.raises(ValueError, match=r"é\.png is missing"):
        prediction_sheet(split / "truth.json", split, split / "found.json", split / "out.png")
