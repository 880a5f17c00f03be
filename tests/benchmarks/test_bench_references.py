"""What the bench compares with gives the published numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.parts.models import ofat_step
from benchmarks.published import evaluation, events, simota
from benchmarks.published.rvt import PublishedRVT
from torch import Tensor

from toy_detection import GOLDEN

CLOSE = {"rtol": 2e-4, "atol": 2e-5}


def read(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with np.load(GOLDEN / "rvt" / f"{name}.npz") as file:
        numbers = {k: torch.from_numpy(file[k]) for k in file.files if file[k].dtype.kind in "iufb"}
        return numbers, json.loads(str(file["meta_json"]))


def model_of(arrays: dict[str, Tensor], meta: dict[str, Any]) -> Any:
    weights = {k.removeprefix("sd/"): v for k, v in arrays.items() if k.startswith("sd/")}
    options = meta["config"]["backbone"]
    return PublishedRVT(
        weights,
        options["stage"]["attention"]["dim_head"],
        options["stem"]["patch_size"],
        options["partition_split_32"],
    )


@pytest.mark.parametrize("name", ["e2e_p4", "e2e_p2"])
@torch.no_grad()
def test_detections_and_losses_of_the_model(name: str):
    arrays, meta = read(name)
    model, found, rows = model_of(arrays, meta), [], []
    states: Any = [None] * 4
    labels = []
    for t, counts in enumerate(arrays["in/x"][0]):
        features, states = model.backbone(counts, states)
        wanted = [b for b in range(len(counts)) if f"in/label/c0_t{t}_b{b}" in arrays]
        levels = [x[wanted] for x in features[1:]]
        found += model.detect(model.fuse(levels), meta["conf_thre"], meta["nms_thre"])
        rows.append(levels)
        labels += [arrays[f"in/label/c0_t{t}_b{b}"] for b in wanted]
    for index, one in enumerate(found):
        torch.testing.assert_close(one, arrays[f"eval/det{index}"], **CLOSE)
    assert f"eval/det{len(found)}" not in arrays
    model.training = True
    outputs = model.outputs(model.fuse([torch.cat(x) for x in zip(*rows, strict=True)]))
    frames = [
        simota.Labels(torch.cat([x[:, 1:3] + x[:, 3:] / 2, x[:, 3:]], dim=1), x[:, 0].long())
        for x in labels
    ]
    for name, loss in simota.losses(*outputs, frames).items():
        expected = arrays[f"train/chunk0/{name}"]
        torch.testing.assert_close(loss.double(), expected, **CLOSE)


def test_assignments():
    arrays, meta = read("simota")
    for case in (item["name"] for item in meta["cases"]):
        given = {k.removeprefix(f"{case}/"): v for k, v in arrays.items() if k.startswith(case)}
        labels = simota.Labels(given["gts"][:, 1:], given["gts"][:, 0].long())
        places = torch.stack([given["x_shifts"][0], given["y_shifts"][0]], dim=1)
        strides = given["strides"][0]
        logits = torch.cat([given["obj_logits"], given["cls_logits"]], dim=1)
        centres = (places + 0.5) * strides[:, None]
        found = simota.assign(labels, given["pred_boxes"], logits, centres, strides)
        assert torch.equal(found.positive, given["fg_mask"]), case
        assert torch.equal(found.objects, given["matched_gt"]), case
        torch.testing.assert_close(found.ious, given["matched_iou"], rtol=1e-4, atol=1e-6)


def test_histograms():
    arrays, meta = read("stacked_histogram")
    default = {"bins": 10, "count_cutoff": 10, "fastmode": True}
    standard = [case for case in meta["cases"] if default.items() <= case.items()]
    assert standard
    for case in standard:
        columns = [arrays[f"{case['name']}/{column}"].long() for column in "xypt"]
        found = events.histogram(*columns, case["height"], case["width"])
        assert torch.equal(found, arrays[f"{case['name']}/out"]), case["name"]


def test_scores():
    arrays, meta = read("evaluator")
    with np.load(GOLDEN / "rvt" / "evaluator.npz") as file:
        boxes = {k: file[k] for k in file.files if file[k].dtype.names}
    (case,) = (case for case in meta["cases"] if case["downsample_by_2"])
    recordings = []  # each frame by itself
    for what in ("labels", "preds"):
        ends = arrays[f"{case['name']}/{what}_split"].tolist()
        recordings.append(np.split(boxes[f"{case['name']}/{what}"], ends[:-1]))
    classes = [str(k) for k in range(case["num_classes"])]
    scores = evaluation.evaluate(*recordings, classes)
    names = ("AP", "AP_50", "AP_75", "AP_S", "AP_M", "AP_L")
    expected = [case["metrics"][name] for name in names]
    np.testing.assert_allclose(scores[:6], expected, rtol=0, atol=1e-9)


def test_a_step_of_the_ofat_baseline_has_the_losses_of_detectron2():
    theirs, ours = (step() for step in ofat_step.calls(ofat_step.TOY))
    assert "loss_rpn_loc" in theirs and "loss_box_reg_stage2" in theirs
    ofat_step.compare_losses(theirs, ours)
