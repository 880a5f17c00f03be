"""The flat arrays of a data set: what they say, and that the file keeps them."""

from __future__ import annotations

import numpy as np
import pytest
from ap_scenes import image

from boxmetrics.matches import ImageBoxes, Matches, match_images

TRUTH = {
    "gt_boxes": [[0, 0, 10, 10], [20, 20, 40, 40], [50, 0, 90, 40]],
    "gt_classes": [1, 0, 0],
    "gt_areas": [90.0, 400.0, 1600.0],
    "gt_crowd": [False, False, True],
}
FOUND = {
    "boxes": [[0, 0, 10, 9], [20, 20, 40, 40], [55, 5, 60, 10], [60, 5, 65, 10], [20, 20, 40, 38]],
    "scores": [0.3, 0.5, 0.2, 0.1, 0.6],
    "classes": [1, 0, 0, 0, 0],
}
EMPTY = image(7)


@pytest.fixture
def matches() -> Matches:
    return match_images([EMPTY, ImageBoxes(9, **FOUND, **TRUTH)], [0.5, 0.95])


def test_who_found_whom(matches):
    assert matches.image_ids.tolist() == [7, 9]
    assert matches.det_image.tolist() == [1] * 5
    assert matches.det_class.tolist() == [0, 0, 0, 0, 1]
    assert matches.det_score.tolist() == [0.6, 0.5, 0.2, 0.1, 0.3]
    assert matches.gt_class.tolist() == [0, 0, 1]
    assert matches.gt_area.tolist() == [400, 1600, 90]
    # At 0.5 the best score takes the box; at 0.95 its overlap of 0.9 leaves it to the second.
    assert matches.det_gt.tolist() == [[0, -1], [-1, 0], [1, 1], [1, 1], [2, -1]]
    np.testing.assert_allclose(matches.det_iou, [[0.9, 0], [0, 1], [1, 1], [1, 1], [0.9, 0]])
    assert matches.gt_det.tolist() == [[0, 1], [-1, -1], [4, -1]]


def test_rows_point_into_the_whole_set():
    images = [ImageBoxes(n, **FOUND, **TRUTH) for n in range(3)]
    matches = match_images(images)
    assert (matches.gt_image[matches.det_gt[:, 0]] == matches.det_image)[
        matches.det_gt[:, 0] >= 0
    ].all()
    assert matches.det_gt[:, 0].tolist() == [
        g if g < 0 else g + 3 * n for n in range(3) for g in [0, -1, 1, 1, 2]
    ]


def test_no_images_give_empty_arrays():
    matches = match_images([])
    assert matches.det_box.shape == (0, 4)
    assert matches.det_gt.shape == matches.gt_det.shape == (0, 10)
    assert len(matches.image_ids) == 0


def test_the_file_keeps_everything_and_repeats_to_the_byte(matches, tmp_path):
    matches.save(tmp_path / "first.npz")
    matches.save(tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    for name, column in vars(Matches.load(tmp_path / "first.npz")).items():
        np.testing.assert_array_equal(column, getattr(matches, name))


def test_the_order_of_truth_and_predictions_does_not_matter(matches):
    order, gt_order = [3, 1, 4, 0, 2], [2, 0, 1]
    found = {name: [column[i] for i in order] for name, column in FOUND.items()}
    truth = {name: [column[i] for i in gt_order] for name, column in TRUTH.items()}
    shuffled = match_images([EMPTY, ImageBoxes(9, **found, **truth)], [0.5, 0.95])
    # Within a class the annotations come in the file's order; undo that for the comparison.
    assert shuffled.det_score.tolist() == matches.det_score.tolist()
    np.testing.assert_array_equal(shuffled.det_iou, matches.det_iou)
    matched = shuffled.det_gt >= 0
    np.testing.assert_array_equal(
        shuffled.gt_box[shuffled.det_gt[matched]], matches.gt_box[matches.det_gt[matched]]
    )
