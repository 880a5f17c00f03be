"""An exported graph beside the model that it was made of: outputs, boxes, times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from detectron2.structures import Instances, pairwise_iou
from torch import Tensor

from smalldet.export.program import Plan, Size
from smalldet.heads.yolox_detections import select_detections
from smalldet.predict.exported import Graph

TOLERANCE = 1e-4  # of the largest value of an output
STEPS = 10  # of a recording
CANDIDATES = 100  # cells that go into NMS
SAME_IOU, SAME_SCORE = 0.99, 1e-3
RUNS = 5  # that are timed


class CheckError(ValueError):
    """An exported graph does not do what the model does."""


def check(graph: Graph, plan: Plan) -> list[str]:
    """Compare the graph with the model in PyTorch, on made-up input.

    Raises:
        CheckError: an output or a box after NMS is another.
    """
    found = [_check_outputs(graph, plan)]
    if plan.fixed:
        found.append(f"size: {plan.size[0]}x{plan.size[1]} px only. {plan.fixed}")
    else:
        found.append(_check_second_size(graph, plan))
    if plan.program.head is not None:
        found.append(_check_boxes(graph, plan))
    return [*found, _compare_times(graph, plan)]


def made_up(plan: Plan, size: Size, steps: int = 1) -> Iterator[Tensor]:
    """Inputs (1, channels, H, W) float32: coarse noise of 0 to 255, or sparse events."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, len(plan.program.mean), *size)
    for _ in range(steps):
        if plan.program.recurrent:
            counts = torch.poisson(torch.full((2, *shape), 0.3), generator)
            yield counts[0] - counts[1] * plan.program.dtype.is_floating_point
        else:
            coarse = torch.rand(
                1, shape[1], size[0] // 8 + 1, size[1] // 8 + 1, generator=generator
            )
            yield (255 * torch.nn.functional.interpolate(coarse, size, mode="bilinear")).round()


def _check_outputs(graph: Graph, plan: Plan) -> str:
    """Steps one after another, each side with its own state; then the first step again."""
    steps = STEPS if plan.state else 1
    inputs = list(made_up(plan, plan.size, steps))
    ours, theirs, worst = list(plan.state.values()), list(plan.state.values()), 0.0
    first = _eager(plan, inputs[0])  # without any state: what zeros must mean
    for number, images in enumerate(inputs):
        want = _eager(plan, images, ours)
        got = graph(images, *theirs)
        worst = max(worst, _compare(plan, got, want, f"step {number + 1}"))
        ours, theirs = (x[-len(ours) or len(x) :] for x in (want, got))
    if not plan.state:
        return f"outputs: at most {worst:.1e} of their maximum away from PyTorch's"
    again = graph(inputs[0], *plan.state.values())
    worst = max(worst, _compare(plan, again, first, "the step after a reset"))
    return (
        f"outputs and state: over {steps} steps and after a reset at most {worst:.1e} of their "
        "maximum away from PyTorch's"
    )


def _check_second_size(graph: Graph, plan: Plan) -> str:
    multiple = plan.program.multiple
    size = plan.size[0] + multiple, max(multiple, plan.size[1] - multiple)
    images = next(made_up(plan, size))
    worst = _compare(plan, graph(images), _eager(plan, images), f"{size[0]}x{size[1]} px")
    return (
        f"size: sides of any multiple of {multiple} px; at {size[0]}x{size[1]} px at most "
        f"{worst:.1e} away"
    )


def _compare(plan: Plan, got: Sequence[Tensor], want: Sequence[Tensor], where: str) -> float:
    """The largest difference as a share of the largest value of its output."""
    names = [*plan.program.output_names(), *plan.state]
    worst = 0.0
    for name, a, b in zip(names, got, want, strict=True):
        for kind, part in _parts(name):
            x, y = a[..., part], b[..., part]
            error = float((x - y).abs().max() / y.abs().max().clamp(min=1e-12))
            if not error <= TOLERANCE:  # NaN is no agreement
                raise CheckError(
                    f"The exported graph gives other values: {kind} differ by {error:.1e} of their "
                    f"maximum at {where}; at most {TOLERANCE:.0e} is allowed."
                )
            worst = max(worst, error)
    return worst


def _parts(name: str) -> list[tuple[str, slice]]:
    """What an output holds along its last axis; pixels would hide confidences."""
    if name != "predictions":
        return [(name, slice(None))]
    return [("boxes", slice(4)), ("objectness", slice(4, 5)), ("classes", slice(5, None))]


def _check_boxes(graph: Graph, plan: Plan) -> str:
    """The best cells of the last of some steps, after NMS."""
    ours = theirs = list(plan.state.values())
    want = got = []
    for images in made_up(plan, plan.size, 3 if plan.state else 1):
        want, got = _eager(plan, images, ours), graph(images, *theirs)
        ours, theirs = want[1:], got[1:]
    head = plan.program.head
    assert head is not None
    least, pair = _between_scores(want[0][0]), (want[0][0], _ranked_alike(got[0][0], want[0][0]))
    found = [select_detections(x, plan.size, least, head.nms_threshold) for x in pair]
    different = different_boxes(*found)
    if different:
        raise CheckError(
            f"After NMS the exported graph gives {len(found[1])} boxes and the model "
            f"{len(found[0])}, and {different} of these have no equal."
        )
    return f"boxes after NMS: the same {len(found[0])}"


def _between_scores(predictions: Tensor) -> float:
    """A score threshold for about CANDIDATES cells that no cell is near to."""
    scores = (predictions[:, 4] * predictions[:, 5:].amax(dim=1)).sort(descending=True).values
    near = scores[len(scores[:CANDIDATES]) // 2 : CANDIDATES]
    gaps = near[:-1] - near[1:]
    if not len(gaps):
        return 0.0
    place = int(gaps.argmax())
    return float(near[place] + near[place + 1]) / 2


def _ranked_alike(got: Tensor, want: Tensor) -> Tensor:
    """``got`` with the confidences of ``want`` where the two agree.

    Of two overlapping boxes that score the same, as those of a hardly trained head do, NMS would
    keep one or the other by the last digit.
    """
    agree = (got - want)[:, 4:].abs() <= TOLERANCE * want[:, 4:]
    return torch.cat([got[:, :4], torch.where(agree, want[:, 4:], got[:, 4:])], dim=1)


def different_boxes(want: Instances, got: Instances) -> int:
    """How many of ``want`` have no equal in ``got``, or how many more these are."""
    same = pairwise_iou(want.pred_boxes, got.pred_boxes) >= SAME_IOU
    same &= want.pred_classes[:, None] == got.pred_classes
    same &= (want.scores[:, None] - got.scores).abs() <= SAME_SCORE
    unmatched = int((~same.any(dim=1)).sum()) if len(got) else len(want)
    return max(unmatched, abs(len(want) - len(got)))


def _compare_times(graph: Graph, plan: Plan) -> str:
    images, state = next(made_up(plan, plan.size)), list(plan.state.values())
    eager = _milliseconds(lambda: _eager(plan, images, state))
    other = _milliseconds(lambda: graph(images, *state))
    return (
        f"time: PyTorch {eager:.1f} ms, exported {other:.1f} ms ({eager / other:.2f} times the "
        f"speed, {torch.get_num_threads()} threads)"
    )


def _milliseconds(run: Callable[[], Any]) -> float:
    run()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[RUNS // 2]


@torch.inference_mode()
def _eager(plan: Plan, images: Tensor, state: Sequence[Tensor] = ()) -> list[Tensor]:
    """What the model gives; events as it gets them elsewhere, counts in bytes."""
    return list(plan.program(images.to(plan.program.dtype), *state))
