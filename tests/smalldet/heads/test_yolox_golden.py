"""The YOLOX head against the official one: outputs, assignments, losses, gradients, detections."""

from __future__ import annotations

import pytest
import torch
from yolox_scenes import official, official_inputs

from smalldet.heads.yolox_detections import select_detections
from smalldet.heads.yolox_losses import assign, labelled
from toy_detection import gradients, relative_error, rvt_golden, state_of

NAMES = ("head_3cls", "head_4level", "head_8cls_depthwise", "head_nogt")
WITH_OBJECTS = NAMES[:3]
POSTPROCESS_CASES = ("default_c01_n045", "val_c0001_n045", "eight_cls_c03_n065", "one_cls")


@pytest.mark.parametrize("name", NAMES)
def test_decoded_outputs(name: str):
    meta, arrays = rvt_golden(name)
    head = official(meta, arrays)
    features, _ = official_inputs(meta, arrays)
    with torch.no_grad():
        decoded = head.eval().decode(features)
        outputs, _ = head.outputs(features)
        trained = head.train().decode(features)
    torch.testing.assert_close(decoded, arrays["out_eval/decoded"], rtol=2e-4, atol=2e-5)
    raw = torch.cat([outputs[..., :4], outputs[..., 4:].sigmoid()], dim=-1)
    torch.testing.assert_close(raw, arrays["out_eval/raw"], rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(trained, arrays["out_train/decoded"], rtol=2e-4, atol=2e-5)
    after = state_of(arrays, "sd_after_train/")
    assert after
    for key, value in head.state_dict().items():
        if key in after:
            torch.testing.assert_close(value, after[key], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_assignments(name: str):
    meta, arrays = rvt_golden(name)
    features, instances = official_inputs(meta, arrays)
    with torch.no_grad():
        outputs, cells = official(meta, arrays).outputs(features)
    objects = labelled(instances)
    found = assign(outputs, cells, objects, rescue_unmatched=False)
    for frame, labels in enumerate(instances):
        mine = found.frames == frame
        if len(labels) == 0:
            assert not mine.any()
            continue
        expected = state_of(arrays, f"assign/{frame}/")
        assert torch.equal(found.cells[mine], expected["fg_mask"].nonzero()[:, 0])
        first = sum(objects.counts[:frame])
        assert torch.equal(found.objects[mine] - first, expected["matched_gt"])
        torch.testing.assert_close(found.ious[mine], expected["matched_iou"], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients(name: str):
    meta, arrays = rvt_golden(name)
    head = official(meta, arrays)
    features, instances = official_inputs(meta, arrays)
    losses = head.losses(features, instances)
    names = {"loss_iou": "iou_loss", "loss_obj": "conf_loss", "loss_cls": "cls_loss"}
    for ours, theirs in names.items():
        assert losses[ours].item() == pytest.approx(arrays[f"out_train/{theirs}"].item(), rel=1e-5)
    total = torch.stack(list(losses.values())).sum()
    assert total.item() == pytest.approx(arrays["out_train/loss"].item(), rel=1e-5)
    total.backward()
    check_norms(head, meta["grad/param_names"], arrays["grad/param_norms"])
    for i, x in enumerate(features.values()):
        assert relative_error(x.grad, arrays[f"grad/feat{i}"]) < 1e-4


@pytest.mark.parametrize("name", WITH_OBJECTS)
def test_l1_equals_the_official_yolox(name: str):
    """The RVT code crashes with it; these numbers are from the code it was made of."""
    meta, arrays = rvt_golden(name)
    head = official(meta, arrays, use_l1=True)
    losses = head.losses(*official_inputs(meta, arrays))
    found = [losses[key].item() for key in ("loss_iou", "loss_obj", "loss_cls", "loss_l1")]
    expected = arrays["l1_upstream/losses"].tolist()
    assert found == pytest.approx(expected[1:5], rel=1e-5)
    assert sum(found) == pytest.approx(expected[0], rel=1e-5)
    torch.stack(list(losses.values())).sum().backward()
    check_norms(head, meta["l1_upstream/param_names"], arrays["l1_upstream/param_norms"])


def check_norms(head: torch.nn.Module, names: list[str], expected: torch.Tensor) -> None:
    found = gradients(head)
    assert set(found) == set(names)
    norms = torch.stack([found[name].double().norm() for name in names])
    torch.testing.assert_close(norms, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", POSTPROCESS_CASES)
def test_detections(case: str):
    meta, arrays = rvt_golden("postprocess")
    cases = {item["name"]: item for item in meta["cases"]}
    assert set(cases) == {*POSTPROCESS_CASES, "agnostic"}  # the published default is per class
    frames = arrays[f"{case}/pred"]
    expected = [arrays[f"{case}/det{i}"] for i in range(len(frames))]
    before = frames.clone()
    for decoded, wanted in zip(frames, expected, strict=True):
        thresholds = (cases[case]["conf_thre"], cases[case]["nms_thre"])
        found = select_detections(decoded, (96, 128), *thresholds)
        assert torch.equal(found.pred_classes, wanted[:, 6].long())
        torch.testing.assert_close(found.pred_boxes.tensor, wanted[:, :4])
        torch.testing.assert_close(found.objectness, wanted[:, 4])
        torch.testing.assert_close(found.class_confidence, wanted[:, 5])
        torch.testing.assert_close(found.scores, wanted[:, 4] * wanted[:, 5])
    assert torch.equal(frames, before)
