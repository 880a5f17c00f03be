"""The losses of one optimisation step in several calls: as those of one call."""

from __future__ import annotations

import pytest
import torch
from recurrent_toys import chunks, detector, play, recording, small_rvt
from torch import Tensor, nn

from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.pafpn import PAFPN
from toy_detection import gradients

# Labelled frames: 3, 1 and none.
BATCHES = play([[recording(1, 4, (0, 1, 3))], [recording(2, 2, (1,))], [recording(3, 4, ())]], 4)


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
