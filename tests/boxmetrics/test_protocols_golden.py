"""The `prophesee` protocol gives the numbers of the evaluator published with RVT."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boxmetrics.boxes import xywh_to_xyxy
from boxmetrics.matches import ImageBoxes
from boxmetrics.protocols import PROPHESEE, Protocol, evaluate
from boxmetrics.tables import BoxTable, Frame

GOLDEN = Path(__file__).parents[1] / "golden" / "rvt" / "evaluator.npz"
PROTOCOL = {  # the filter of the 304 x 240 sensor is half as strict
    "case0_gen4": PROPHESEE,
    "case1_gen4": replace(PROPHESEE, name="full_resolution", resolution=1.0),
    "case2_gen1": replace(PROPHESEE, name="gen1", min_diagonal=30, min_side=10, resolution=1.0),
}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def frames_of(arrays: dict[str, np.ndarray], case: str, scale: float) -> list[Frame]:
    """The frames of a case; ``scale`` turns its pixels into those of the sensor."""
    columns = {}
    for what in ("labels", "preds"):
        ends = arrays[f"{case}/{what}_split"]
        assert ends[-1] == len(arrays[f"{case}/{what}"])
        columns[what] = np.split(arrays[f"{case}/{what}"], ends[:-1])
    return [
        frame_of(n, truth, found, scale)
        for n, (truth, found) in enumerate(zip(columns["labels"], columns["preds"], strict=True))
    ]


def frame_of(number: int, truth: np.ndarray, found: np.ndarray, scale: float) -> Frame:
    gt, det = (
        scale * xywh_to_xyxy(np.stack([box[name] for name in "xywh"], axis=1).astype(np.float64))
        for box in (truth, found)
    )
    areas = (gt[:, 2] - gt[:, 0]) * (gt[:, 3] - gt[:, 1])
    image = ImageBoxes(
        number,
        det,
        found["class_confidence"],
        found["class_id"],
        gt,
        truth["class_id"],
        areas,
        np.zeros(len(gt), bool),
    )
    times = np.unique(np.concatenate([truth["t"], found["t"]]))
    assert len(times) <= 1
    return Frame(image, "golden", int(times[0]) if len(times) else 0)


@pytest.mark.parametrize("case", PROTOCOL)
def test_equals_the_published_evaluator(golden, case):
    meta = {c["name"]: c for c in json.loads(str(golden["meta_json"]))["cases"]}[case]
    scale = 2.0 if meta["downsample_by_2"] else 1.0
    protocol: Protocol = PROTOCOL[case]
    table = BoxTable.of_frames(frames_of(golden, case, scale))
    classes = [f"class {k}" for k in range(meta["num_classes"])]
    scores = evaluate(protocol, table, classes).scores
    for key, value in meta["metrics"].items():
        expected = None if value == -1 else pytest.approx(100 * value, abs=1e-9)
        name = key.replace("_", "")
        assert scores[name[:2] + name[2:].lower()] == expected, key


def test_the_golden_case_really_drops_boxes(golden):
    table = BoxTable.of_frames(frames_of(golden, "case0_gen4", 2.0))
    dropped = evaluate(PROPHESEE, table, ["a", "b", "c"]).dropped
    assert set(dropped.ground_truth) == {"early", "diagonal", "side"}
    assert set(dropped.predictions) >= {"early", "diagonal", "side"}
