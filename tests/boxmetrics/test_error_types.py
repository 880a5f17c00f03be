"""The six types of error and what they cost: by hand, against rebuilt scenes, and tidecv."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from ap_scenes import random_image, scene

from boxmetrics import weighted_ap
from boxmetrics.average_precision import precision_recall
from boxmetrics.boxes import xyxy_to_xywh
from boxmetrics.error_labels import Label, label_errors
from boxmetrics.error_types import ErrorReport, error_costs
from boxmetrics.matches import ImageBoxes, Matches, match_images
from boxmetrics.tables import BoxTable

CLASSES = 2
BOX, NEAR, TOUCHING = [0, 0, 10, 10], [0, 0, 10, 3], [0, 0, 10, 0.5]  # IoU 1, 0.3, 0.05
SECOND, FAR = [50, 50, 60, 60], [200, 200, 220, 220]
HALF = 100 * 51 / 101  # AP of a class with one of two boxes found and nothing wrong
NAMES = ("classification", "localisation", "both", "duplicate", "background", "missed")


def report_of(*images: ImageBoxes, **options) -> ErrorReport:
    return error_costs(match_images(images), **options)


def by_name(report: ErrorReport) -> dict[str, tuple[int, float | None]]:
    return {error.name: (error.count, error.cost) for error in report.errors}


def random_images(seed: int, most: int = 10**6, crowds: bool = True) -> list[ImageBoxes]:
    """Six images full of errors; none with more than ``most`` predictions."""
    rng = np.random.default_rng(seed)
    images = (random_image(rng, n, CLASSES) for n in range(10**6))
    chosen: list[ImageBoxes] = []
    while len(chosen) < 6:
        image = next(images)
        if len(image.scores) <= most:
            chosen.append(spoiled(rng, image, crowds))
    return chosen


def spoiled(rng: np.random.Generator, image: ImageBoxes, crowds: bool) -> ImageBoxes:
    """The image with more predictions beside the boxes, of wrong classes, and no equal scores."""
    known, extra = len(image.gt_classes), 20 if len(image.gt_classes) else 0
    picked = rng.integers(known, size=extra) if known else np.zeros(0, int)
    boxes = image.gt_boxes[picked]
    labels = image.gt_classes[picked] ^ (rng.random(extra) < 0.4)
    shift = np.tile((boxes[:, 2:] - boxes[:, :2]) * rng.uniform(-0.7, 0.7, (extra, 1)), 2)
    return replace(
        image,
        boxes=np.concatenate([image.boxes, boxes + shift]),
        classes=np.concatenate([image.classes, labels]),
        scores=rng.random(len(image.scores) + extra),
        gt_crowd=image.gt_crowd if crowds else np.zeros(known, bool),
    )


def test_the_random_scenes_hold_every_error():
    reports = [by_name(report_of(*random_images(seed, most=80))) for seed in range(12)]
    for name in NAMES:
        assert sum(report[name][0] > 0 and report[name][1] > 0 for report in reports) >= 6


ONE_ERROR = {
    # name: predictions, ground truth, AP before, AP with that error put right
    "classification": ([(BOX, 0.9, 1)], [(BOX, 0)], 0, 100),
    "localisation": ([(NEAR, 0.9, 0)], [(BOX, 0)], 0, 100),
    "both": ([(NEAR, 0.9, 1), (SECOND, 0.5, 1), (BOX, 0.9, 0)], [(BOX, 0), (SECOND, 1)], 75, 100),
    "duplicate": (
        [(BOX, 0.9, 0), (BOX, 0.7, 0), (SECOND, 0.5, 0)],
        [(BOX, 0), (SECOND, 0)],
        100 * (51 + 50 * 2 / 3) / 101,
        100,
    ),
    "background": ([(FAR, 0.9, 0), (BOX, 0.5, 0)], [(BOX, 0)], 50, 100),
    "missed": ([(BOX, 0.9, 0)], [(BOX, 0), (SECOND, 0)], HALF, 100),
}


@pytest.mark.parametrize("name", NAMES)
def test_each_error_alone(name):
    dets, gts, before, after = ONE_ERROR[name]
    report = report_of(scene(dets, gts))
    assert report.ap == pytest.approx(before)
    expected = dict.fromkeys(NAMES, (0, 0.0)) | {name: (1, pytest.approx(after - before))}
    assert by_name(report) == expected
    assert tuple(error.name for error in report.errors) == NAMES


def test_false_positives_and_false_negatives():
    dets = [(FAR, 0.9, 0), (BOX, 0.8, 0), (NEAR, 0.7, 0)]
    report = report_of(scene(dets, [(BOX, 0), (SECOND, 0)]))
    assert report.ap == pytest.approx(HALF / 2)
    assert report.false_positives == ("false_positives", 2, pytest.approx(HALF / 2))
    assert report.false_negatives == ("false_negatives", 1, pytest.approx(50 - HALF / 2))
    assert report.num_ground_truth == 2
    assert (report.threshold, report.background, report.area_range) == (0.5, 0.1, None)


def test_a_perfect_run_has_no_errors():
    report = report_of(scene([(BOX, 0.9, 0), (SECOND, 0.8, 1)], [(BOX, 0), (SECOND, 1)]))
    assert report.ap == pytest.approx(100)
    assert {*by_name(report).values()} == {(0, 0.0)}
    assert report.false_positives[1:] == report.false_negatives[1:] == (0, 0.0)


def test_only_the_surest_of_two_errors_finds_the_box():
    dets = [([0, 0, 10, 4], 0.5, 0), (NEAR, 0.9, 0), (SECOND, 0.7, 0)]
    report = report_of(scene(dets, [(BOX, 0), (SECOND, 0)]))
    assert by_name(report)["localisation"] == (2, pytest.approx(100 - HALF / 2))
    assert by_name(report)["missed"] == (0, 0.0)


def test_the_surest_is_chosen_across_classes():
    """Right away the second box is found; by the error with the lower score it would be late."""
    dets = [(BOX, 0.5, 1), (BOX, 0.9, 2), (SECOND, 0.7, 0), (FAR, 0.6, 0)]
    report = report_of(scene(dets, [(BOX, 0), (SECOND, 0)]))
    assert by_name(report)["classification"] == (2, pytest.approx(100 - HALF))


def test_an_error_on_a_box_found_already_goes():
    """Put right it would be a duplicate; the box that it hides behind is still missed."""
    report = report_of(scene([(NEAR, 0.9, 0), (BOX, 0.5, 0)], [(BOX, 0), (SECOND, 0)]))
    assert by_name(report)["localisation"] == (1, pytest.approx(HALF / 2))
    assert by_name(report)["missed"][0] == 1


def label_of(dets, gts, **options) -> list[Label]:
    labels = label_errors(match_images([scene(dets, gts)]), **options)
    return [Label(label) for label in labels.det_label]


def test_the_order_of_the_types():
    on_both = [(BOX, 0), ([0, 0, 10, 10], 1)]
    assert label_of([(BOX, 0.9, 0), (BOX, 0.8, 0)], on_both) == [Label.HIT, Label.CLASSIFICATION]
    beside = [([0, 0, 30, 10], 0), (BOX, 1)]
    assert label_of([(BOX, 0.9, 0)], beside) == [Label.LOCALISATION]
    assert label_of([(TOUCHING, 0.9, 0)], [(BOX, 0)]) == [Label.BACKGROUND]
    assert label_of([(BOX, 0.9, 0)], []) == [Label.BACKGROUND]


def test_the_limits_of_the_thresholds():
    tenth, half = [0, 0, 10, 1], [0, 0, 10, 5]
    assert label_of([(tenth, 0.9, 0)], [(BOX, 0)]) == [Label.LOCALISATION]
    assert label_of([(tenth, 0.9, 1)], [(BOX, 0)]) == [Label.BACKGROUND]
    assert label_of([(half, 0.9, 0)], [(BOX, 0)]) == [Label.HIT]
    assert label_of([(half, 0.9, 1)], [(BOX, 0)]) == [Label.CLASSIFICATION]
    assert label_of([(half, 0.9, 0)], [(BOX, 0)], threshold=0.6) == [Label.LOCALISATION]
    assert label_of([(NEAR, 0.9, 0)], [(BOX, 0)], background=0.35) == [Label.BACKGROUND]


def test_predictions_on_crowds_and_beyond_the_limit_are_set_aside():
    crowded = scene([(BOX, 0.9, 0), (BOX, 0.8, 1), (BOX, 0.7, 0)], [(BOX, 0)], crowd=[0])
    labels = label_errors(match_images([crowded])).det_label
    assert labels.tolist() == [Label.ASIDE, Label.ASIDE, Label.BACKGROUND]
    many = scene([(BOX, 1 - n / 1000, 0) for n in range(120)], [(BOX, 0)])
    assert by_name(report_of(many))["duplicate"][0] == 99


def test_sizes_are_told_apart():
    large = [100, 100, 200, 200]
    gts = [(BOX, 0), (SECOND, 0), (large, 0)]
    image = scene([(BOX, 0.9, 0), (FAR, 0.8, 0), ([100, 100, 200, 130], 0.7, 0)], gts)
    small, big = (report_of(image, area_range=limits) for limits in ((0, 1024), (9216, 1e10)))
    assert {name: count for name, (count, _) in by_name(small).items() if count} == {
        "background": 1,
        "missed": 1,
    }
    assert small.num_ground_truth == 2 and big.num_ground_truth == 1
    assert big.errors[-1].count == 1  # the box that overlaps it, of medium size, is set aside
    assert big.ap == 0 and big.errors[-1].cost is None


def test_a_box_of_the_range_goes_before_one_set_aside():
    around = [0, 0, 10, 12]
    image = scene([(around, 0.9, 0)], [(BOX, 0), (around, 0)], areas=[100.0, 2000.0])
    report = report_of(image, area_range=(0, 1024))
    assert report.ap == pytest.approx(100) and report.false_negatives.count == 0


@pytest.mark.parametrize("threshold", [0.5, 0.75])
@pytest.mark.parametrize("limits", [None, (0, 1024), (1024, 9216)])
@pytest.mark.parametrize("seed", range(6))
def test_the_ap_is_that_of_coco(seed, limits, threshold):
    images = random_images(seed)
    report = report_of(*images, threshold=threshold, area_range=limits)
    ranges = [limits or (0, 1e10)]
    curves = precision_recall(BoxTable.of_images(images), CLASSES, ranges, [threshold])
    assert report.ap == pytest.approx(curves.ap(), abs=1e-9)


@pytest.mark.parametrize("limits", [None, (0, 1024)])
@pytest.mark.parametrize("seed", range(12))
def test_every_box_has_one_verdict_and_no_cost_is_negative(seed, limits):
    matches = match_images(random_images(seed))
    labels = label_errors(matches, area_range=limits)
    report = error_costs(matches, area_range=limits)
    counts = {error.name: error.count for error in report.errors}
    hits = np.count_nonzero(labels.det_label == Label.HIT)
    aside = np.count_nonzero(labels.det_label == Label.ASIDE)
    assert hits == np.count_nonzero(labels.gt_found)
    wrong = sum(counts.values()) - counts["missed"]
    assert report.false_positives.count == wrong == len(matches.det_score) - hits - aside
    assert report.false_negatives.count == report.num_ground_truth - hits >= counts["missed"]
    costs = [e.cost for e in (*report.errors, report.false_positives, report.false_negatives)]
    assert min(cost for cost in costs if cost is not None) >= 0


@pytest.mark.parametrize("seed", range(12))
def test_costs_equal_those_of_scenes_that_are_rebuilt(seed):
    """An oracle on boxes: drop, move or stop asking for them, then score anew."""
    images = random_images(seed, most=80)
    matches = match_images(images)
    labels, report = label_errors(matches), error_costs(matches)
    for error in report.errors[1:]:  # with its class put right a prediction may find another box
        if error.name == "missed":
            table = rebuilt(matches, gts=~labels.gt_missed)
        else:
            table = without(matches, labels, Label[error.name.upper()])
        after = precision_recall(table, CLASSES, thresholds=[0.5]).ap()
        expected = None if after is None else after - report.ap
        assert error.cost == pytest.approx(expected, abs=1e-8)


def without(matches: Matches, labels, label: Label) -> BoxTable:
    """The data set where the predictions of that label are gone or, where they may, moved."""
    wrong = labels.det_label == label
    boxes, kept = matches.det_box.copy(), ~wrong
    if label == Label.LOCALISATION:
        for g in np.flatnonzero(labels.gt_counts & ~labels.gt_found):
            claims = np.flatnonzero(wrong & (labels.det_target == g))
            if len(claims):
                best = claims[np.argmax(matches.det_score[claims])]
                boxes[best], kept[best] = matches.gt_box[g], True
    return rebuilt(replace(matches, det_box=boxes), dets=kept)


def rebuilt(matches: Matches, dets=slice(None), gts=slice(None)) -> BoxTable:
    """The boxes of the matches, or those of ``dets`` and ``gts``, as a table."""
    names = {field.name for field in fields(BoxTable)}
    columns = {name: column for name, column in vars(matches).items() if name in names}
    zeros = np.zeros_like(matches.image_ids)
    places = {"image_recording": zeros.astype(str), "image_timestamp_us": zeros}
    return BoxTable(**columns, **places, det_class_confidence=matches.det_score).select(dets, gts)


def test_nothing_to_score():
    for report in (report_of(), report_of(scene([(BOX, 0.9, 0)], []))):
        assert report.ap is None and {cost for _, cost in by_name(report).values()} == {None}
    assert by_name(report)["background"][0] == 1
    blind = report_of(scene([], [(BOX, 0), (SECOND, 1)]))
    assert blind.ap == 0 and by_name(blind)["missed"] == (2, None)
    assert blind.false_negatives == ("false_negatives", 2, None)
    assert blind.false_positives == ("false_positives", 0, 0.0)


def test_what_makes_no_sense_is_refused():
    matches = match_images([scene([(BOX, 0.9, 0)], [(BOX, 0)])])
    for threshold, background in ((0.1, 0.5), (1.0, 0.1), (0.5, 0.0)):
        with pytest.raises(ValueError, match="0 < background < found < 1 is expected"):
            error_costs(matches, threshold, background)
    with pytest.raises(ValueError, match="two rising numbers of square pixels"):
        error_costs(matches, area_range=(1024, 0))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, CLASSES])
def test_equals_tidecv(classes, monkeypatch):
    """The code published with TIDE; with several classes it may fix fewer errors of two types."""
    tidecv = pytest.importorskip("tidecv")
    # Its recall points are 0.07 where COCO's are 0.07000000000000001, and so on.
    monkeypatch.setattr(weighted_ap, "RECALL_POINTS", np.arange(101) / 100)
    compared = 0
    for seed in range(40):
        images = random_images(seed, most=80, crowds=False)
        matches = match_images(images)
        if classes == 1:
            matches = match_images(one_class(image) for image in images)
        report, run = error_costs(matches), tidecv_run(tidecv, matches)
        if report.errors[-1].cost is None or len({*matches.gt_class}) < classes:
            continue
        compared += 1
        assert report.ap == pytest.approx(run.ap)
        theirs, counts = run.fix_main_errors(), run.count_errors()
        for error, (kind, cost) in zip(report.errors, theirs.items(), strict=True):
            assert error.count == counts[kind], (seed, error)
            if classes == 1 or error.name not in ("classification", "localisation"):
                assert error.cost == pytest.approx(cost, abs=1e-6), (seed, error)
            else:
                assert error.cost >= cost - 1e-6
        special = run.fix_special_errors().values()
        ours = (report.false_positives.cost, report.false_negatives.cost)
        assert ours == pytest.approx(tuple(special), abs=1e-6)
    assert compared > 20


def one_class(image: ImageBoxes) -> ImageBoxes:
    return replace(image, classes=0 * image.classes, gt_classes=0 * image.gt_classes)


def tidecv_run(tidecv, matches: Matches):
    from tidecv.quantify import TIDERun

    truth, found = tidecv.Data("truth"), tidecv.Data("found")
    for image, k, box in zip(
        matches.gt_image, matches.gt_class, xyxy_to_xywh(matches.gt_box), strict=True
    ):
        truth.add_ground_truth(int(image), int(k), box)
    for image, k, score, box in zip(
        matches.det_image,
        matches.det_class,
        matches.det_score,
        xyxy_to_xywh(matches.det_box),
        strict=True,
    ):
        truth.add_image(int(image), "")
        found.add_detection(int(image), int(k), float(score), box)
    return TIDERun(truth, found, 0.5, 0.1, tidecv.TIDE.BOX, max_dets=200)
