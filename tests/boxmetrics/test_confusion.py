"""Confusion matrix, recall by size and false alarms: by hand, and sums that must agree."""

from __future__ import annotations

import numpy as np
import pytest
from ap_scenes import random_image, scene

from boxmetrics.average_precision import precision_recall
from boxmetrics.confusion import confusion_matrix, false_alarms_on_empty, recall_by_size
from boxmetrics.matches import ImageBoxes, match_images, match_table
from boxmetrics.tables import BoxTable

CLASSES = 3
BOX, OTHER, FAR = [0, 0, 10, 10], [50, 50, 60, 60], [200, 200, 220, 220]


def random_images(seed: int) -> list[ImageBoxes]:
    rng = np.random.default_rng(seed)
    return [random_image(rng, n, CLASSES) for n in range(8)]


def confusion_of(*images: ImageBoxes, classes: int = 2, **options) -> list[list[int]]:
    return confusion_matrix(match_images(images), classes, **options).tolist()


def test_the_cells_of_the_matrix():
    dets = [(BOX, 0.9, 0), (OTHER, 0.8, 0), (FAR, 0.7, 1), (FAR, 0.2, 1)]
    gts = [(BOX, 0), (OTHER, 1), ([100, 100, 110, 110], 1)]
    assert confusion_of(scene(dets, gts)) == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert confusion_of(scene(dets, gts), min_score=0.1)[2] == [0, 2, 0]
    assert confusion_of(scene(dets, gts), min_score=0.95) == [[0, 0, 1], [0, 0, 2], [0, 0, 0]]


def test_the_surest_prediction_has_the_object_whatever_its_class():
    wrong_first = scene([(BOX, 0.9, 1), (BOX, 0.8, 0)], [(BOX, 0)])
    assert confusion_of(wrong_first) == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
    right_first = scene([(BOX, 0.8, 1), (BOX, 0.9, 0)], [(BOX, 0)])
    assert confusion_of(right_first) == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_the_overlap_asked_for_is_a_choice():
    image = scene([([0, 0, 10, 6], 0.9, 0)], [(BOX, 0)])
    assert confusion_of(image)[0] == [1, 0, 0]
    assert confusion_of(image, iou=0.7) == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_crowd_regions_are_neither_missed_nor_found():
    dets = [(BOX, 0.9, 0), (BOX, 0.8, 0), (BOX, 0.7, 1)]
    assert confusion_of(scene(dets, [(BOX, 0)], crowd=[0])) == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("seed", range(8))
def test_rows_are_the_ground_truth_and_columns_the_predictions(seed):
    matches = match_images(random_images(seed))
    counts = confusion_matrix(matches, CLASSES, min_score=0.3)
    truth = np.bincount(matches.gt_class[~matches.gt_crowd], minlength=CLASSES)
    kept = np.bincount(matches.det_class[matches.det_score >= 0.3], minlength=CLASSES)
    assert counts[:-1].sum(axis=1).tolist() == truth.tolist()
    assert (counts[:, :-1].sum(axis=0) <= kept).all()
    if not matches.gt_crowd.any():
        assert counts[:, :-1].sum(axis=0).tolist() == kept.tolist()
    assert counts[-1, -1] == 0


def test_one_class_alone_is_the_matching_of_ap():
    one = match_table(BoxTable.of_images(random_images(1)).as_one_class())
    counts = confusion_matrix(one, 1, min_score=0)
    assert counts[0, 0] == np.count_nonzero(one.gt_det[:, 0] >= 0) > 0


def test_no_images_and_a_class_too_many():
    assert confusion_of() == [[0, 0, 0]] * 3
    with pytest.raises(ValueError, match="Class 2 occurs in the prediction, but there are 2"):
        confusion_of(scene([(BOX, 0.9, 2)], []))


def test_recall_in_bins_of_size():
    gts = [(BOX, 0), (OTHER, 0), (FAR, 0), ([300, 300, 310, 310], 0)]
    image = scene([(BOX, 0.9, 0), (FAR, 0.2, 0)], gts, areas=[63.9, 64.0, 400.0, 1e6], crowd=[3])
    bins = recall_by_size(match_images([image]), [8, 16, 32])
    assert [(b.low, b.high, b.count, b.found) for b in bins] == [
        (0, 8, 1, 1),
        (8, 16, 1, 0),
        (16, 32, 1, 1),
        (32, np.inf, 0, 0),
    ]
    assert [b.recall for b in bins] == [100, 0, 100, None]
    surer = recall_by_size(match_images([image]), [8, 16, 32], min_score=0.3)
    assert [b.found for b in surer] == [1, 0, 0, 0]


def test_what_only_comes_beyond_the_limit_is_not_found():
    dets = [*((FAR, 0.9 - n / 1000, 0) for n in range(99)), (BOX, 0.5, 0)]
    assert recall_by_size(match_images([scene(dets, [(BOX, 0)])]), [])[0].found == 1
    late = scene([(FAR, 0.95, 0), *dets], [(BOX, 0)])
    assert recall_by_size(match_images([late]), [])[0].found == 0


@pytest.mark.parametrize("seed", range(6))
def test_bins_add_up_to_the_recall_of_the_data_set(seed):
    images = random_images(seed)
    table = BoxTable.of_images(images).as_one_class()
    bins = recall_by_size(match_table(table), [5, 30, 100], iou=0.75)
    recall = precision_recall(table, 1, thresholds=[0.75]).ar(100)
    assert sum(b.count for b in bins) == np.count_nonzero(~table.gt_crowd)
    assert 100 * sum(b.found for b in bins) / sum(b.count for b in bins) == pytest.approx(recall)


def test_edges_that_make_no_sense_are_refused():
    matches = match_images(random_images(0))
    for edges in ([8, 8], [16, 8], [0, 8], [-1], [np.nan], [np.inf]):
        with pytest.raises(ValueError, match="sizes in pixels that rise and are above 0"):
            recall_by_size(matches, edges)
    with pytest.raises(ValueError, match="Match the boxes again at these"):
        recall_by_size(matches, [8], iou=0.42)
    assert len(recall_by_size(matches, [])) == 1


def test_false_alarms_are_counted_on_every_empty_image():
    images = [
        scene([(BOX, 0.9, 0), (FAR, 0.3, 1), (FAR, 0.29, 0)], [], image_id=7),
        scene([], [], image_id=8),
        scene([(FAR, 0.9, 0)], [(BOX, 0)], image_id=9),
        scene([(FAR, 0.9, 0)], [(BOX, 0)], image_id=10, crowd=[0]),
    ]
    alarms = false_alarms_on_empty(match_images(images))
    assert alarms.image_ids.tolist() == [7, 8]
    assert alarms.counts.tolist() == [2, 0]
    assert alarms.per_image == 1.0
    assert false_alarms_on_empty(match_images(images), min_score=0).counts.tolist() == [3, 0]
    assert false_alarms_on_empty(match_images(images[2:])).per_image is None
    assert false_alarms_on_empty(match_images([])).per_image is None
