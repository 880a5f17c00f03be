"""AP and AR equal those of the COCO programs, and a few that can be told by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ap_scenes import coco_curves, image, random_image

from boxmetrics.average_precision import precision_recall
from boxmetrics.matches import ImageBoxes, save_matches
from boxmetrics.matching import AREA_RANGES
from boxmetrics.tables import BoxTable

RANGES = list(AREA_RANGES.values())
CLASSES = 3  # the last never has ground truth
BOX = [10.0, 10.0, 30.0, 30.0]


def random_table(seed: int) -> BoxTable:
    rng = np.random.default_rng(seed)
    count = (0, 1, 1, 6, 12)[seed % 5]
    return BoxTable.of_images(random_image(rng, n, CLASSES - 1) for n in range(count))


def curves_of(*images: ImageBoxes, num_classes: int = 1):
    return precision_recall(BoxTable.of_images(images), num_classes)


@pytest.mark.parametrize("fast", [False, True], ids=["pycocotools", "faster-coco-eval"])
@pytest.mark.parametrize("seed", range(30))
def test_equals_the_coco_programs(seed, fast):
    table = random_table(seed)
    ours = precision_recall(table, CLASSES)
    if not len(table.image_ids):
        assert np.isnan(ours.precision).all()
        return
    precision, recall = coco_curves(table, CLASSES, RANGES, fast=fast)
    np.testing.assert_allclose(ours.precision, precision, atol=1e-9)
    np.testing.assert_allclose(ours.recall, recall, atol=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_equals_pycocotools_without_regard_to_class(seed):
    table = random_table(100 + seed)
    ours = precision_recall(table.as_one_class(), 1)
    precision, recall = coco_curves(table, CLASSES, RANGES, use_classes=False)
    np.testing.assert_allclose(ours.precision, precision, atol=1e-9)
    np.testing.assert_allclose(ours.recall, recall, atol=1e-9)


def test_the_scenes_hold_what_hurts():
    tables = [random_table(seed) for seed in range(30)]
    facts = {
        "no image": any(not len(t.image_ids) for t in tables),
        "no truth": any(len(t.image_ids) and not len(t.gt_class) for t in tables),
        "no predictions": any(len(t.gt_class) and not len(t.det_class) for t in tables),
        "crowds": any(t.gt_crowd.any() for t in tables),
        "over 300": any(
            np.unique(t.det_image * 9 + t.det_class, return_counts=True)[1].max(initial=0) > 300
            for t in tables
        ),
        "ties": any(len(np.unique(t.det_score)) < len(t.det_score) for t in tables),
    }
    assert [name for name, held in facts.items() if not held] == []


def test_perfect_nothing_and_undefined():
    assert curves_of(image(1, [BOX], [0.5], [BOX])).ap() == pytest.approx(100)
    missed = curves_of(image(1, gt=[BOX]))
    assert missed.ap() == missed.ar(1) == 0.0
    nothing_true = curves_of(image(1, [BOX], [0.5]))
    assert nothing_true.ap() is None and nothing_true.ar(100) is None


def test_a_class_without_truth_is_left_out_of_the_mean():
    scene = image(1, [BOX, BOX], [0.5, 0.4], [BOX], classes=[0, 1])
    curves = curves_of(scene, num_classes=2)
    assert curves.ap() == pytest.approx(100)
    assert curves.ap(classes=[1]) is None
    assert curves.ap(classes=[0, 1]) == pytest.approx(100)


def test_a_false_alarm_above_the_hit_halves_the_precision():
    scene = image(1, [[100, 100, 120, 120], BOX], [0.9, 0.5], [BOX])
    assert curves_of(scene).ap(0.5) == pytest.approx(50)


def test_recall_grows_with_the_limit_where_300_boxes_lie():
    gt = [
        [20.0 * (n % 20), 20.0 * (n // 20), 20.0 * (n % 20) + 9, 20.0 * (n // 20) + 9]
        for n in range(300)
    ]
    curves = curves_of(image(1, gt, np.linspace(1, 0.1, 300), gt))
    recalls = [curves.ar(limit) for limit in (1, 10, 100, 300)]
    assert recalls == pytest.approx([100 / 300, 1000 / 300, 10000 / 300, 100])


def test_a_class_beyond_the_last_is_refused():
    with pytest.raises(ValueError, match="Class 1 occurs in the prediction, but there are 1"):
        curves_of(image(1, [BOX], [0.5], classes=[1]))


def test_the_table_survives_the_file_of_matches(tmp_path):
    table = random_table(4)
    save_matches(table, tmp_path / "matches.npz")
    again = BoxTable.load(tmp_path / "matches.npz")
    for name, column in vars(table).items():
        np.testing.assert_array_equal(getattr(again, name), column)
