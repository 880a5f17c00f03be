"""The comparison finds what an exporter may get wrong; no exporter runs here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from toy_runs import spread

from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.detectors import ImageDetector, RecurrentDetector
from smalldet.export.check import CheckError, check, made_up
from smalldet.export.program import Plan, Program, plan_of, traceable
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.pafpn import PAFPN
from toy_detection import PatchBackbone

LEVELS = {"a": (8, 8), "b": (8, 16)}
Faulty = Callable[[list[torch.Tensor], tuple[torch.Tensor, ...]], list[torch.Tensor]]


@pytest.fixture(scope="module")
def recurrent() -> Plan:
    """RVT with attention in time, so a neck with a state of its own."""
    torch.manual_seed(0)
    rvt = MaxViTRNN(embed_dim=8, dim_head=4, partition_split=1)
    neck = PAFPN(rvt, enable_small_object_attention=True)
    model = RecurrentDetector(neck, YOLOXHead(num_classes=3))
    return plan_of(Program(spread(model, 10.0)), (60, 90))


@pytest.fixture(scope="module")
def images() -> Plan:
    torch.manual_seed(0)
    return plan_of(
        Program(spread(ImageDetector(PatchBackbone(LEVELS), YOLOXHead(num_classes=2)), 1.0)),
        (60, 90),
    )


def graph_of(plan: Plan, spoil: Faulty = lambda outputs, given: outputs):
    """The program itself as a graph, with a fault."""
    twin = traceable(plan.program)

    def run(*given: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad():
            return spoil(list(twin(*given)), given)

    return run


def test_a_faithful_graph_passes(recurrent, images):
    lines = "\n".join(check(graph_of(recurrent), recurrent))
    assert "10 steps" in lines and "reset" in lines and "64x96 px only. The windows" in lines
    lines = "\n".join(check(graph_of(images), images))
    assert "multiple of 16 px; at 80x80" in lines and "the same" in lines and "speed" in lines


def wrong(column: int, factor: float) -> Faulty:
    def spoil(outputs, given):
        outputs[0] = outputs[0].clone()
        outputs[0][..., column] *= factor
        return outputs

    return spoil


def frozen_state(outputs, given):
    """A graph that gives its state back as it came."""
    return [outputs[0], *given[1:]]


FAULTS = [
    (wrong(4, 1.001), "objectness"),
    (wrong(0, 1.01), "boxes"),
    (wrong(6, float("nan")), "classes"),
]


@pytest.mark.parametrize(("fault", "message"), [*FAULTS, (frozen_state, "state_0_0")])
def test_a_wrong_output_is_found(fault, message, recurrent):
    with pytest.raises(CheckError, match=f"{message}.*step 1"):
        check(graph_of(recurrent, fault), recurrent)


def test_a_reset_that_is_none_is_found(recurrent):
    calls = []

    def kept(outputs, given):
        """After ten steps zeros are taken for what they are not."""
        calls.append(given)
        return outputs if len(calls) < 11 else [2 * x for x in outputs]

    with pytest.raises(CheckError, match="after a reset"):
        check(graph_of(recurrent, kept), recurrent)


def test_another_size_that_differs_is_found(images):
    def one_size(outputs, given):
        return outputs if given[0].shape[-2:] == images.size else [1.01 * x for x in outputs]

    with pytest.raises(CheckError, match="80x80 px"):
        check(graph_of(images, one_size), images)


def test_lost_boxes_are_found(images):
    calls = []

    def lossy(outputs, given):
        calls.append(given)
        if len(calls) > 2:  # behind the comparison of outputs at two sizes
            outputs[0][:, ::2, 4] = 0
        return outputs

    with pytest.raises(CheckError, match="After NMS"):
        check(graph_of(images, lossy), images)


def test_states_go_through_names_and_back(recurrent):
    program, state = recurrent.program, recurrent.state
    assert {"state_0_0_0", "state_0_3_1", "state_1_0_0"} <= set(state)
    steps = list(made_up(recurrent, recurrent.size, 2))
    with torch.no_grad():
        first = program(steps[0])
        flat = program(steps[1], *first[1:])
        features, nested = program.backbone.step(steps[0], None)
        features, nested = program.backbone.step(steps[1], nested)
    assert torch.allclose(flat[0], program.head.decode(features), atol=1e-4)
    assert [tuple(x.shape) for x in flat[1:]] == [tuple(x.shape) for x in state.values()]
    assert torch.allclose(flat[-1], nested[1][-1][-1])


def test_a_model_that_is_none_and_a_size_that_does_not_fit_end_in_sentences(images):
    with pytest.raises(ValueError, match=r"has no backbone.*--format weights"):
        Program(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="does not run on 0x32 px"):
        plan_of(images.program, (0, 32))
    assert replace(images, fixed="x").fixed and not images.fixed
