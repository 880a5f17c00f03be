"""Pictures of what is found: which images, which predictions, and images that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest

from boxmetrics.matches import ImageBoxes, match_images
from pictures.boxes import CLASS_COLOURS, DARK
from smalldet.evaluation.found_sheet import IMAGES, TILE, found_sheet, fullest_images

BOX = np.array([20.0, 20, 40, 40])


def scene(objects, predictions: int = 0):
    """Images 7, 8, ... with so many objects each; the first of them found, the rest far away."""
    away = np.arange(max(predictions, *objects))[:, None] * 50.0
    return match_images(
        ImageBoxes(
            image_id=7 + row,
            boxes=(BOX + away)[:predictions],
            scores=np.linspace(0.9, 0.1, predictions),
            classes=np.zeros(predictions, int),
            gt_boxes=(BOX + away)[:count],
            gt_classes=np.zeros(count, int),
            gt_areas=np.full(count, 400.0),
            gt_crowd=np.zeros(count, bool),
        )
        for row, count in enumerate(objects)
    )


def black(image_id: int) -> np.ndarray:
    return np.zeros((TILE, TILE, 3), np.uint8)


def pixels(sheet: np.ndarray, colour) -> int:
    return int((sheet == colour).all(axis=2).sum())


def test_the_same_images_whatever_was_predicted():
    objects = [1, 0, 3, 2, 3, 1]
    assert fullest_images(scene(objects)) == fullest_images(scene(objects, 5)) == [2, 4, 3, 0]
    assert fullest_images(scene([0, 0])) == [0, 1]


@pytest.mark.parametrize(("predictions", "shown"), [(0, 0), (1, 1), (5, 1)])
def test_no_more_predictions_than_objects(predictions, shown):
    sheet = found_sheet(scene([1], predictions), black, ["head"])
    one = found_sheet(scene([1], 1), black, ["head"])
    assert (pixels(sheet, CLASS_COLOURS[0]) > 0) == bool(shown)
    assert not shown or np.array_equal(sheet, one)
    assert pixels(sheet, DARK.truth) > 0


def test_images_that_cannot_be_read_are_left_out():
    def picture(image_id: int) -> np.ndarray:
        if image_id != 9:
            raise OSError("gone")
        return black(image_id)

    matches = scene([1] * IMAGES)
    assert found_sheet(matches, picture, ["head"]).shape[1] < 2 * TILE
    assert (
        found_sheet(matches, picture, ["head"]).shape[1] < found_sheet(matches, black, []).shape[1]
    )
    assert found_sheet(scene([1]), picture, ["head"]) is None
