"""Losses of the YOLOX head over a whole step, their counts, and the weights of small objects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.utils.events import EventStorage
from torch import Tensor
from torch.nn.functional import softplus
from torch.nn.parallel import DistributedDataParallel
from yolox_scenes import features_of, labels, small_head

from smalldet.heads.yolox import YOLOXHead
from smalldet.heads.yolox_losses import COUNTS, TERMS, assign, labelled
from smalldet.losses.size_aware import compute_size_weights
from toy_detection import gradients

# Three frames whose objects differ in number and size; the last one has none.
FRAMES = [
    labels([[4, 4, 20, 20], [30, 10, 80, 60], [40, 40, 44, 44]], [0, 1, 2]),
    labels([[20, 20, 60, 50]], [1]),
    labels([]),
]


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def frame(features: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    return {name: x[index : index + 1] for name, x in features.items()}


def whole_gradients(head: YOLOXHead) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses and gradients of all frames in one call."""
    losses = head.losses(features_of(head, 3), FRAMES)
    total(losses).backward()
    return losses, {name: grad.clone() for name, grad in gradients(head).items()}


def test_a_step_in_parts_equals_one_call():
    head = small_head().eval()  # batch statistics would see other frames
    losses, expected = whole_gradients(head)
    head.zero_grad()
    features, sums = features_of(head, 3), {}
    head.begin_step()
    for index, instances in enumerate(FRAMES):
        part = head.losses(frame(features, index), [instances])
        total(part).backward()
        sums = {name: sums.get(name, 0) + loss.detach() for name, loss in part.items()}
    factor = head.end_step()
    for name, grad in gradients(head).items():
        torch.testing.assert_close(grad * factor, expected[name], rtol=1e-4, atol=1e-6)
    for name, value in sums.items():
        torch.testing.assert_close(value * factor, losses[name])
    again, _ = whole_gradients(head)
    assert {k: v.item() for k, v in again.items()} == {k: v.item() for k, v in losses.items()}
    head.begin_step()
    head.losses(features_of(head, 1), [labels([])])
    assert head.end_step() == 1  # without positives


def run_rank(rank: int, folder: Path) -> None:
    """Process 0 has the first frame, process 1 the other two, one by one."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    head = small_head().eval()
    model = DistributedDataParallel(Losses(head))
    features = features_of(head, 3)
    head.begin_step()
    with model.no_sync():
        if rank == 1:
            total(model(frame(features, 1), [FRAMES[1]])).backward()
    last = {0: 0, 1: 2}[rank]
    total(model(frame(features, last), [FRAMES[last]])).backward()
    factor = head.end_step()
    found = {name: (grad * factor).tolist() for name, grad in gradients(head).items()}
    (folder / f"rank{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


class Losses(torch.nn.Module):
    """The head as a model of its own, for DistributedDataParallel."""

    def __init__(self, head: YOLOXHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: dict[str, Tensor], instances: list) -> dict[str, Tensor]:
        return self.head.losses(features, instances)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path):
    mp.spawn(run_rank, (tmp_path,), nprocs=2)
    _, expected = whole_gradients(small_head().eval())
    for rank in range(2):
        found = json.loads((tmp_path / f"rank{rank}.json").read_text())
        for name, grad in expected.items():
            torch.testing.assert_close(torch.tensor(found[name]), grad, rtol=1e-4, atol=1e-6)


def test_objects_without_a_cell_are_counted_by_size_and_logged():
    outside = labels([[900, 900, 910, 910], [900, 0, 950, 50], [0, 900, 200, 1100], [9, 9, 30, 30]])
    head = small_head()
    with EventStorage() as storage:
        head.losses(features_of(head, 2), [outside, FRAMES[1]])
        logged = {name: value for name, (value, _) in storage.latest().items()}
    assert set(logged) == {f"yolox/{name}" for name in COUNTS}
    sums = head.loss_sums(features_of(head, 2), [outside, FRAMES[1]])
    counts = dict(zip(COUNTS, sums.counts.tolist(), strict=True))
    assert [counts[f"unmatched_{size}"] for size in ("small", "medium", "large")] == [1, 1, 1]
    assert counts["objects"] == 5 and counts["positives"] >= 2
    assert {f"yolox/{name}": value for name, value in counts.items()} == logged


def test_a_step_is_logged_once_as_a_whole():
    head = small_head()
    with EventStorage() as storage:
        head.begin_step()
        for index, instances in enumerate(FRAMES):
            head.losses(frame(features_of(head, 3), index), [instances])
        assert storage.latest() == {}
        head.end_step()
        assert storage.latest()["yolox/objects"][0] == 4


def test_rescued_objects_are_still_counted():
    crowded = [labels([[30, 30, 50, 50]] * 20)]
    plain = small_head().loss_sums(features_of(small_head(), 1), crowded).counts
    rescued = small_head(rescue_unmatched=True)
    counts = rescued.loss_sums(features_of(rescued, 1), crowded).counts
    assert plain[2] > 0 and torch.equal(counts[1:], plain[1:]) and counts[0] >= 20


def losses_of(**chosen: object) -> dict[str, Tensor]:
    head = small_head(**chosen)
    return head.losses(features_of(head, 3), FRAMES)


def test_weight_1_equals_the_plain_losses_bit_for_bit():
    plain = losses_of()
    for terms in (["iou"], ["iou", "classification"]):
        weighted = losses_of(size_aware_loss=True, size_aware_weight=1.0, size_aware_terms=terms)
        assert all(torch.equal(plain[name], weighted[name]) for name in plain)
    weighted = losses_of(size_aware_loss=True, size_aware_weight=1.0, size_aware_terms=TERMS)
    torch.testing.assert_close(weighted, plain)  # objectness is summed in another order
    # Nor do the settings of the weights matter while they are off.
    off = losses_of(size_aware_weight=9.0, weight_type="linear")
    assert all(torch.equal(plain[name], off[name]) for name in plain)


@pytest.mark.parametrize("kind", ["exponential", "step", "linear"])
@pytest.mark.parametrize("terms", [[], ["iou"], ["objectness"], ["classification"], TERMS])
def test_only_the_chosen_terms_are_weighted_and_the_divisor_stays(kind: str, terms: list[str]):
    one_size = [labels([[20, 20, 36, 36], [50, 30, 66, 46]])]
    settings = {"size_aware_weight": 2.5, "weight_type": kind}
    head = small_head(size_aware_loss=True, size_aware_terms=terms, **settings)
    features = features_of(head, 1)
    plain, weighted = (h.losses(features, one_size) for h in (small_head(), head))
    weight = compute_size_weights(torch.tensor(16.0**2), **settings)
    # Of objectness, what positive cells add is weighted; empty cells weigh 1.
    outputs, cells = head.outputs(features)
    found = assign(outputs, cells, labelled(one_size), rescue_unmatched=False)
    positives = softplus(-outputs[found.frames, found.cells, 4]).sum() / len(found.cells)
    expected = {
        "loss_iou": plain["loss_iou"] * (weight if "iou" in terms else 1),
        "loss_obj": plain["loss_obj"] + positives * ((weight - 1) if "objectness" in terms else 0),
        "loss_cls": plain["loss_cls"] * (weight if "classification" in terms else 1),
    }
    torch.testing.assert_close(weighted, expected)


def test_other_losses_of_boxes_and_classes():
    plain, other = losses_of(), losses_of(iou_loss="giou", classification_loss="focal")
    assert torch.equal(plain["loss_obj"], other["loss_obj"])
    assert other["loss_iou"] > 0 and other["loss_iou"] != plain["loss_iou"]
    assert 0 < other["loss_cls"] < plain["loss_cls"]  # a focal term is at most its cross-entropy
    weighted = losses_of(
        classification_loss="focal", size_aware_loss=True, size_aware_terms=["classification"]
    )
    assert other["loss_cls"] < weighted["loss_cls"] <= 2 * other["loss_cls"]
