"""The named protocols: what they drop, how they differ on a toy set, the published numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ap_scenes import coco_curves, random_frames, scene

from boxmetrics.boxes import xywh_to_xyxy
from boxmetrics.protocols import (
    COCO,
    ETRAM_PUBLISHED,
    PROPHESEE,
    PROTOCOLS,
    evaluate,
    get_protocol,
    keep,
)
from boxmetrics.tables import BoxTable, Frame

CLASSES = ("Car", "Pedestrian", "Bus")
CAR, PEDESTRIAN = 0, 1
HERE, ELSEWHERE = [100, 100, 200, 200], [600, 100, 700, 200]  # 100 x 100 px
TINY, UPRIGHT = [300, 300, 330, 330], [400, 300, 460, 420]


def frame(timestamp_us, truth=(), found=()) -> Frame:
    """``truth`` holds (box, class), ``found`` (box, class, score, class score)."""
    dets = [(box, score, k) for box, k, score, _ in found]
    image = scene(dets, truth, timestamp_us)
    return Frame(image, "toy", timestamp_us, [c for *_, c in found])


def table_of(*frames: Frame) -> BoxTable:
    return BoxTable.of_frames(frames)


@pytest.fixture
def toy() -> BoxTable:
    """Each frame is one thing on which the protocols disagree."""
    return table_of(
        frame(400_000, [(HERE, CAR)]),  # missed, within the first half second
        frame(
            1_000_000,
            [(HERE, CAR)],
            # Objectness puts the false alarm behind the car, the class confidence before it.
            [(HERE, CAR, 0.9, 0.9), (ELSEWHERE, CAR, 0.5, 0.99)],
        ),
        frame(2_000_000, [(TINY, PEDESTRIAN)], [(TINY, PEDESTRIAN, 0.7, 0.7)]),
        frame(3_000_000, [], [(HERE, CAR, 0.95, 0.95)]),  # a false alarm where nothing is
        frame(4_000_000, [(UPRIGHT, PEDESTRIAN)], [(UPRIGHT, CAR, 0.8, 0.8)]),  # the wrong class
    )


def test_the_protocols_differ_on_the_toy_set_by_what_can_be_told_by_hand(toy):
    coco, prophesee, etram = (
        evaluate(protocol, toy, CLASSES, [PEDESTRIAN]).scores
        for protocol in (COCO, PROPHESEE, ETRAM_PUBLISHED)
    )
    half = 100 * 51 / 101  # recall 0 to 0.5 is 51 of 101 points
    # Cars: alarm, hit, then wrong ones; 1 of 2 found at precision 1/2. Pedestrians: 1 of 2 at 1.
    assert coco["AP-Car"] == pytest.approx(half / 2)
    assert coco["AP-Pedestrian"] == coco["AP-small-classes"] == pytest.approx(half)
    assert coco["AP"] == pytest.approx(0.75 * half)  # 37.87
    # The missed car, the alarm and the tiny pedestrian are gone; the wrong class still hurts.
    assert (prophesee["AP-Car"], prophesee["AP-Pedestrian"]) == (pytest.approx(100), 0)
    assert prophesee["AP"] == pytest.approx(50)
    # The wrong class is right; the alarm in the second frame comes first: alarm, hit, hit.
    assert etram["AP"] == pytest.approx(200 / 3)
    assert (etram["AP-Car"], etram["AP-Pedestrian"]) == (pytest.approx(50), 0)
    assert [s["num_images"] for s in (coco, prophesee, etram)] == [5, 2, 2]
    assert coco["APs"] == pytest.approx(100) and prophesee["APs"] is None


def test_each_protocol_says_what_it_dropped(toy):
    _, coco = keep(COCO, toy)
    assert coco.images == coco.ground_truth == coco.predictions == {}
    assert str(coco) == "images: none; ground truth: none; predictions: none"
    _, prophesee = keep(PROPHESEE, toy)
    assert prophesee.images == {"early": 1, "empty_image": 2}
    assert prophesee.ground_truth == {"early": 1, "diagonal": 1}
    assert prophesee.predictions == {"diagonal": 1, "empty_image": 1}
    assert "ground truth: 1 early, 1 diagonal" in str(prophesee)


def test_limits_belong_to_what_is_kept_except_for_the_time():
    exact = [0, 0, 20, np.sqrt(3200)]  # side 20, diagonal 60
    slim, short = [0, 0, 19.99, 90], [0, 0, 42, 42]
    truth = [(exact, CAR), (slim, CAR), (short, CAR)]
    kept, dropped = keep(PROPHESEE, table_of(frame(500_000, truth), frame(500_001, truth)))
    assert kept.gt_box.tolist() == [pytest.approx(exact)]
    assert dropped.ground_truth == {"early": 3, "diagonal": 1, "side": 1}


def test_no_box_that_is_small_on_the_sensor_passes_prophesees_filter():
    rng = np.random.default_rng(0)
    sides = np.exp(rng.uniform(np.log(5), np.log(400), (20_000, 2)))
    boxes = np.concatenate([np.zeros_like(sides), sides], axis=1)
    table = table_of(frame(1_000_000, [(box, CAR) for box in boxes]))
    kept, _ = keep(PROPHESEE, table)
    assert (table.gt_area < 32**2).sum() > 1000 and not (kept.gt_area < 32**2).any()
    # What the protocol calls small begins, for squares, at a side of 43 sensor pixels.
    small = kept.gt_area[kept.gt_area <= PROPHESEE.area_ranges()[1, 1]]
    assert len(small) and small.max() <= 64**2


def test_size_bins_refer_to_the_declared_resolution():
    box = [0, 0, 50, 50]  # medium on the sensor, 25 x 25 at half resolution
    table = table_of(frame(1_000_000, [(box, CAR)], [(box, CAR, 0.9, 0.9)]))
    full = evaluate(COCO, table, CLASSES).scores
    half = evaluate(replace(COCO, name="coco_half", resolution=0.5), table, CLASSES).scores
    assert (full["APs"], full["APm"]) == (None, pytest.approx(100))
    assert (half["APs"], half["APm"]) == (pytest.approx(100), None)
    assert half["APs-Car"] == pytest.approx(100) and half["APm-Car"] is None


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("seed", range(4))
def test_kept_and_dropped_add_up_and_equal_pycocotools(seed, name):
    protocol = PROTOCOLS[name]
    table = BoxTable.of_frames(random_frames(np.random.default_rng(seed), 12, len(CLASSES)))
    kept, dropped = keep(protocol, table)
    for what, column in (
        ("images", "image_ids"),
        ("ground_truth", "gt_class"),
        ("predictions", "det_class"),
    ):
        lost = sum(getattr(dropped, what).values())
        assert len(getattr(kept, column)) + lost == len(getattr(table, column)), what
    scores = evaluate(protocol, table, CLASSES).scores
    ranked = kept.ranked_by_class_confidence() if protocol.rank_by == "class_confidence" else kept
    precision, recall = coco_curves(
        ranked, len(CLASSES), protocol.area_ranges(), not protocol.class_agnostic
    )
    assert scores["AP"] == pytest.approx(100 * np.nanmean(precision[..., 0]), abs=1e-9)
    assert scores["AR@300"] == pytest.approx(100 * np.nanmean(recall[:, :, 0, 3]), abs=1e-9)


def test_undefined_scores_are_null_left_out_and_named(toy):
    result = evaluate(COCO, toy, CLASSES, [PEDESTRIAN, 2])
    assert result.scores["AP-Bus"] is None
    assert result.scores["AP-small-classes"] == result.scores["AP-Pedestrian"]
    assert {"AP-Bus", "APs-Bus", "APs-Car"} < set(result.undefined)
    assert "AP" not in result.undefined
    assert "AP-small-classes" not in evaluate(COCO, toy, CLASSES).scores


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_nothing_at_all_has_the_same_keys(toy, protocol):
    full = evaluate(protocol, toy, CLASSES, [1])
    nothing = evaluate(protocol, table_of(), CLASSES, [1])
    assert list(nothing.scores) == list(full.scores)
    assert nothing.scores["AP"] is None and nothing.scores["num_images"] == 0


def test_the_description_holds_all_that_defines_the_numbers():
    described = json.loads(json.dumps(PROPHESEE.describe()))
    assert described["name"] == "prophesee" and described["version"] == 1
    assert described["area_ranges"]["small"] == [0, 64**2]
    with pytest.raises(ValueError, match=r"'gen4'; expected one of \['coco', 'etram_published'"):
        get_protocol("gen4")


# The evaluator published with RVT ----------------------------------------------------------------

GOLDEN = Path(__file__).parents[1] / "golden" / "rvt" / "evaluator.npz"
PUBLISHED = {  # their score is the confidence in the class alone
    "case0_gen4": PROTOCOLS["rvt_published"],
    "case1_gen4": replace(PROPHESEE, name="full_resolution", resolution=1.0),
    "case2_gen1": PROTOCOLS["rvt_published_gen1"],
}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def golden_table(arrays: dict[str, np.ndarray], case: str, scale: float) -> BoxTable:
    """The boxes of a case; ``scale`` turns its pixels into those of the sensor."""
    columns = []
    for what in ("labels", "preds"):
        ends = arrays[f"{case}/{what}_split"]
        assert ends[-1] == len(arrays[f"{case}/{what}"])
        columns.append(np.split(arrays[f"{case}/{what}"], ends[:-1]))
    return table_of(*(golden_frame(*pair, scale) for pair in zip(*columns, strict=True)))


def golden_frame(truth: np.ndarray, found: np.ndarray, scale: float) -> Frame:
    gt, det = (
        scale * xywh_to_xyxy(np.stack([rows[name] for name in "xywh"], axis=1).astype(np.float64))
        for rows in (truth, found)
    )
    times = {*truth["t"].tolist(), *found["t"].tolist()}
    assert len(times) <= 1
    scores = [found["class_confidence"]] * 2
    return frame(
        *(times or {0}),
        [*zip(gt, truth["class_id"], strict=True)],
        [*zip(det, found["class_id"], *scores, strict=True)],
    )


@pytest.mark.parametrize("case", PUBLISHED)
def test_equals_the_published_evaluator(golden, case):
    meta = {c["name"]: c for c in json.loads(str(golden["meta_json"]))["cases"]}[case]
    table = golden_table(golden, case, 2.0 if meta["downsample_by_2"] else 1.0)
    classes = [f"class {k}" for k in range(meta["num_classes"])]
    scores = evaluate(PUBLISHED[case], table, classes).scores
    for key, value in meta["metrics"].items():
        expected = None if value == -1 else pytest.approx(100 * value, abs=1e-9)
        name = key.replace("_", "")
        assert scores[name[:2] + name[2:].lower()] == expected, key


def test_the_golden_case_really_drops_boxes(golden):
    _, dropped = keep(PROPHESEE, golden_table(golden, "case0_gen4", 2.0))
    assert set(dropped.ground_truth) == {"early", "diagonal", "side"}
    assert set(dropped.predictions) >= {"early", "diagonal", "side"}
