"""RecurrentDetector: gradients through time and of a step in parts, labels, precision, targets."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from detectron2.utils.events import EventStorage
from recurrent_toys import CHANNELS, EchoNeck, chunks, detector, play, recording, small_rvt
from torch import Tensor, nn

from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.detectors.recurrent_samples import BoxTally
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.pafpn import PAFPN
from toy_detection import SCORE, gradients, rcnn_head


def rcnn_detector(**changes: Any) -> RecurrentDetector:
    torch.manual_seed(0)
    head = rcnn_head({"roi_heads.num_classes": 400, **changes}, projected_channels=16)
    return RecurrentDetector(PAFPN(small_rvt(), depth=0.33), head)


@pytest.mark.parametrize("neck", [False, True])
def test_gradients_flow_through_the_steps_of_a_chunk_and_not_across(neck: bool):
    model = detector(EchoNeck(small_rvt()) if neck else small_rvt())
    first, second = chunks(recording(1, 6, labelled=(2, 5)), 3)
    for sample in (first, second):
        sample["events"] = sample["events"].double().requires_grad_()
    model([first])
    model([second])["loss"].backward()
    assert first["events"].grad is None
    assert all(step.abs().sum() > 0 for step in second["events"].grad)


def test_the_head_runs_once_on_the_labelled_frames():
    model = detector()
    for batch in play([[recording(1, 5, (0, 3, 4))], [recording(2, 3, (1,))]], 5):
        model(batch)
    assert model.head.calls == [4]


def test_a_chunk_without_labels_gives_zero_gradients_and_moves_the_state_outside_the_module():
    model = rcnn_detector()
    names, before = list(model.state_dict()), {name: x.clone() for name, x in model.named_buffers()}
    with EventStorage():
        losses = model(chunks(recording(1, 2, labelled=()), 2))
    assert all(loss == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(g is not None and not g.any() for g in gradients(model).values())
    assert list(model.recurrent_state()) == [0] and list(model.state_dict()) == names
    assert len(list(model.buffers())) == len(before)
    assert all(torch.equal(x, before[name]) for name, x in model.named_buffers())


def test_trains_and_predicts_with_the_rcnn_head():
    model = rcnn_detector(**{SCORE: 0.0})
    batch = play([[recording(1, 3)], [recording(2, 2)]], 3)[0]
    with EventStorage():
        losses = model(batch)
    sum(losses.values()).backward()
    assert all(g is not None and g.isfinite().all() for g in gradients(model).values())
    with torch.no_grad():
        outputs = model.eval()(batch)
    assert [(x["sample"], x["step"]) for x in outputs] == [(0, 0), (1, 0), (0, 2)]
    assert all(found["instances"].image_size == (30, 64) for found in outputs)


def test_without_labels_every_frame_is_detected_on():
    model = detector().eval()
    sample = chunks(recording(1, 3, labelled=()), 3)[0]
    assert model([sample]) == []
    del sample["boxes"], sample["classes"]
    assert [output["step"] for output in model([sample])] == [0, 1, 2]


def test_the_cell_state_stays_float32_under_autocast():
    model = rcnn_detector()
    for batch in play([[recording(1, 4)], [recording(2, 4)]], 2):
        with EventStorage(), torch.autocast("cpu", torch.bfloat16):
            losses = model(batch)
        sum(losses.values()).backward()
    for state in model.recurrent_state().values():
        assert all(cell.dtype == torch.float32 and not cell.requires_grad for _, cell in state)
    assert all(g.isfinite().all() for g in gradients(model).values())


def test_boxes_are_cut_at_the_border_and_counted(caplog, monkeypatch):
    monkeypatch.setattr("smalldet.detectors.recurrent_samples.REPORT_SECONDS", 0)
    tally, model = BoxTally(), detector()
    sample = chunks(recording(1, 1), 1)[0]
    inside, across = [1.0, 2, 3, 4], [60.0, -5, 70, 40]
    useless = [[70.0, 0, 80, 9], [5.0, 5, 5, 9], [5.0, 9, 7, 5], [float("nan"), 1, 2, 3]]
    sample["boxes"] = [torch.tensor([useless[0], inside, *useless[1:], across])]
    sample["classes"] = [torch.arange(6)]
    targets = tally.targets(sample, 0)
    assert targets.image_size == (30, 64)
    assert targets.gt_boxes.tensor.tolist() == [inside, [60, 0, 64, 30]]
    assert targets.gt_classes.tolist() == [1, 5]
    assert tally == BoxTally(seen=6, clipped=1, dropped=4)
    empty = {"boxes": [torch.zeros(0, 4)], "classes": [torch.zeros(0)]}
    nothing = BoxTally().targets(sample | empty, 0)
    assert len(nothing) == 0 and nothing.gt_classes.dtype == torch.long
    with EventStorage() as storage, caplog.at_level(logging.WARNING):
        model([sample])
    logged = {name: value for name, (value, _) in storage.latest().items()}
    assert logged == {"data/boxes_clipped": 1, "data/boxes_dropped": 4}
    assert "4 of 6 boxes of a batch have no area" in caplog.text


def sample(**changes):
    return chunks(recording(1, 2), 2)[0] | changes


LARGER = chunks(recording(2, 2, size=(60, 64)), 2, 1)[0]
BAD_BATCHES = {
    "chunks of one stream": [sample(), sample()],
    r"\[\(2, 30, 64\), \(2, 60, 64\)\]": [sample(), LARGER],
    r"\[1, 2\] entries": [sample(boxes=[None])],
    "are padded": [sample(padded=torch.ones(2, dtype=torch.bool))],
    "at least one step": [sample(events=torch.zeros(0, CHANNELS, 8, 8), boxes=[], classes=[])],
    "Training needs them": [{k: v for k, v in sample().items() if k not in ("boxes", "classes")}],
}


@pytest.mark.parametrize("message", BAD_BATCHES)
def test_batches_that_are_none(message: str):
    with pytest.raises(ValueError, match=message):
        detector()(BAD_BATCHES[message])


def test_a_backbone_that_cannot_step():
    with pytest.raises(ValueError, match=r"Identity has no step\(x, state\)"):
        RecurrentDetector(nn.Identity(), rcnn_head())


# Labelled frames: 3, 1 and none.
BATCHES = play([[recording(1, 4, (0, 1, 3))], [recording(2, 2, (1,))], [recording(3, 1, ())]], 4)


def yolox_detector() -> RecurrentDetector:
    """In double precision, with batch norms that do not depend on the batch."""
    torch.manual_seed(0)
    neck = PAFPN(small_rvt(), depth=0.33)
    model = RecurrentDetector(neck, YOLOXHead(num_classes=400, width=8)).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def step(model: RecurrentDetector, calls: list[list[dict]]) -> dict[str, Tensor]:
    """Gradients of one step."""
    model.zero_grad()
    getattr(model.head, "seen", {}).clear()
    model.begin_step()
    for samples in calls:
        sum(model(samples).values()).backward()
    factor = model.end_step()
    return {name: g * factor for name, g in gradients(model).items() if g is not None}


@pytest.mark.parametrize("make", [detector, yolox_detector])
def test_accumulated_gradients_are_those_of_one_call(make):
    model, (batch,) = make(), BATCHES
    sum(model(batch).values()).backward()  # outside of a step: already divided
    expected = {name: g.clone() for name, g in gradients(model).items() if g is not None}
    for calls in ([batch], [[sample] for sample in batch], [batch[2:], batch[:2]]):
        found = step(model, calls)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            # Cells and objects are matched in float32, and IoUs come from there.
            torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7, msg=name)
    assert all(not g.any() for g in step(model, [batch[2:]]).values())  # without labels
    with pytest.raises(RuntimeError, match="without begin_step"):
        model.end_step()


@pytest.mark.parametrize("use_l1", [False, True])
def test_a_chunk_without_labels_reaches_every_parameter_and_moves_no_statistics(use_l1: bool):
    torch.manual_seed(0)
    head = YOLOXHead(num_classes=3, use_l1=use_l1)
    model = RecurrentDetector(PAFPN(small_rvt(), depth=0.33), head)
    before = {name: x.clone() for name, x in model.named_buffers()}
    # The coarsest map is one cell, which has no variance to normalise by.
    losses = model(chunks(recording(1, 2, labelled=(), size=(30, 32)), 2))
    assert len(losses) == 3 + use_l1 and all(loss == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(g is not None and not g.any() for g in gradients(model).values())
    assert before and all(torch.equal(x, before[name]) for name, x in model.named_buffers())
    assert all(module.training for module in model.modules())
