"""The auxiliary balanced classifier: its mask, its loss against a slow oracle, what it decides."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from yolox_scenes import SIZE, features_of, labels, small_head

from smalldet.heads.yolox import YOLOXHead
from smalldet.heads.yolox_losses import COUNTS
from smalldet.losses.class_balance import ClassBalance
from toy_detection import gradients

FRAMES = [
    labels([[4, 4, 20, 20], [30, 10, 80, 60], [40, 40, 44, 44]], [0, 1, 2]),
    labels([[20, 20, 60, 50], [60, 8, 90, 40]], [1, 0]),
]
SEEN = [400, 0, 100]


def abc_head(seen: list[int] | None = None, **chosen: object) -> YOLOXHead:
    """A head whose second classifier has seen so many positive cells of each class."""
    head = small_head(balanced_classifier=True, **chosen)
    if seen is not None:
        head.loss_terms.balance.count(torch.tensor(seen))
    return head


def seen_of(head: YOLOXHead) -> list[int]:
    return head.loss_terms.balance.seen.tolist()


# The mask ----------------------------------------------------------------------------------------


def test_a_class_is_kept_as_often_as_it_is_more_frequent_than_the_rarest():
    balance = ClassBalance(4)
    assert balance.shares().tolist() == [1, 1, 1, 1]
    balance.count(torch.tensor([1000, 10, 40, 0]))
    assert balance.shares().tolist() == pytest.approx([0.01, 1, 0.25, 1])
    assert balance.of_each(torch.tensor([2, 0, 2])).tolist() == [1, 0, 2, 0]


def test_of_each_class_as_many_are_expected():
    torch.manual_seed(0)
    balance, numbers = ClassBalance(3), torch.tensor([40_000, 2_000, 10_000])
    balance.count(numbers)
    kept = torch.bincount(balance_of(balance, numbers), minlength=3)
    deviations = (2_000 * (1 - balance.shares())).sqrt()
    assert (kept - 2_000).abs().le(5 * deviations).all() and kept[1] == 2_000


def balance_of(balance: ClassBalance, numbers: Tensor) -> Tensor:
    """The classes that are kept of so many samples of each."""
    classes = torch.arange(len(numbers)).repeat_interleave(numbers)
    return classes[balance(classes)]


# The loss ----------------------------------------------------------------------------------------


def by_the_book(head: YOLOXHead, features: dict[str, Tensor], draws: list[float]) -> float:
    """The published loss over all positive cells, one by one, with these random numbers."""
    outputs, _, objects, found = head.assign(features, FRAMES)
    rarest = min(n for n in seen_of(head) if n > 0)
    total = 0.0
    for row, draw in enumerate(draws):
        label = int(objects.classes[found.objects[row]])
        if draw >= min(1.0, rarest / max(seen_of(head)[label], 1)):
            continue
        logits = outputs[found.frames[row], found.cells[row], 5 + 3 :].double().tolist()
        for number, logit in enumerate(logits):
            target = float(found.ious[row]) if number == label else 0.0
            p = 1 / (1 + math.exp(-logit))
            total -= target * math.log(p) + (1 - target) * math.log(1 - p)
    return total / len(draws)


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_loss_as_it_is_written(seed: int):
    head = abc_head(SEEN)
    nn.init.normal_(head.abc_preds[0].weight)
    features = features_of(head, 2)
    positives = int(head.loss_sums(features, FRAMES).counts[0])
    torch.manual_seed(seed)
    draws = torch.rand(positives).tolist()
    expected = by_the_book(head, features, draws)
    torch.manual_seed(seed)
    losses = head.losses(features, FRAMES)
    assert expected > 0 and losses["loss_abc"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["bce", "focal"])
def test_with_all_kept_it_is_the_loss_of_a_second_classifier(loss: str):
    """Of the same weights, also of weighed sizes; and the other losses are those without it."""
    chosen = {
        "classification_loss": loss,
        "size_aware_loss": True,
        "size_aware_terms": ["iou", "classification"],
    }
    plain, head = small_head(**chosen), abc_head([7, 7, 7], **chosen)
    for mine, other in zip(head.abc_preds, head.cls_preds, strict=True):
        mine.load_state_dict(other.state_dict())
    expected = plain.losses(features_of(plain, 2), FRAMES)
    found = head.losses(features_of(head, 2), FRAMES)
    assert set(found) - set(expected) == {"loss_abc"}
    torch.testing.assert_close(found["loss_abc"], expected["loss_cls"])
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_gradient_reaches_both_classifiers_and_what_they_share():
    head = abc_head()
    head.losses(features_of(head, 2), FRAMES)["loss_abc"].backward()
    reached = {name for name, grad in gradients(head).items() if grad is not None and grad.any()}
    roots = {name.split(".")[0] for name in reached}
    assert roots == {"abc_preds", "cls_convs", "stems"}


def test_frames_without_objects_have_no_loss():
    head = abc_head(SEEN)
    losses = head.losses(features_of(head, 1), [labels([])])
    assert losses["loss_abc"] == 0 and seen_of(head) == SEEN


# What is counted ---------------------------------------------------------------------------------


def test_positive_cells_of_training_are_counted_by_class():
    head, features = abc_head(), features_of(abc_head(), 2)
    counts = head.loss_sums(features, FRAMES).counts
    assert seen_of(head) == [0, 0, 0] and counts[len(COUNTS) :].sum() == counts[0]
    head.losses(features, FRAMES)
    assert seen_of(head) == counts[len(COUNTS) :].tolist() and min(seen_of(head)) > 0
    with torch.no_grad():  # as losses on valid are computed
        head.losses(features, FRAMES)
    head.eval().losses(features, FRAMES)
    assert seen_of(head) == counts[len(COUNTS) :].tolist()


def test_a_step_in_parts_counts_once_all_of_it_is_done():
    whole, parts = abc_head(), abc_head()
    features = features_of(whole, 2)
    whole.losses(features, FRAMES)
    parts.begin_step()
    for index, instances in enumerate(FRAMES):
        parts.losses({k: x[index : index + 1] for k, x in features.items()}, [instances])
        assert seen_of(parts) == [0, 0, 0]
    parts.end_step()
    assert sum(seen_of(parts)) > 0 and min(seen_of(parts)) > 0


def test_what_was_seen_is_part_of_a_checkpoint():
    state = abc_head(SEEN).state_dict()
    head = abc_head()
    head.load_state_dict(state)
    assert seen_of(head) == SEEN


# What it decides ---------------------------------------------------------------------------------


def test_the_balanced_classifier_decides():
    head = abc_head(score_threshold=0.0, nms_threshold=1.0).eval()
    for preds, sure in ((head.cls_preds, 0), (head.abc_preds, 2)):
        for layer in preds:
            nn.init.zeros_(layer.weight)
            layer.bias.data = torch.full((3,), -3.0).index_fill(0, torch.tensor(sure), 3.0)
    with torch.no_grad():
        found = head.predict(features_of(head, 1), [SIZE])[0]
        decoded = head.decode(features_of(head, 1))
    assert len(found) == decoded.shape[1] and set(found.pred_classes.tolist()) == {2}
    assert decoded.shape[-1] == 5 + 3 and decoded[..., 5:].argmax(-1).eq(2).all()


def test_off_there_is_nothing_of_it():
    plain, head = small_head(), abc_head()
    assert not [name for name in plain.state_dict() if "abc" in name or "balance" in name]
    added = sum(p.numel() for p in head.parameters()) - sum(p.numel() for p in plain.parameters())
    assert added == 3 * 3 * (8 + 1)  # levels, classes, width and bias
    for name, value in plain.state_dict().items():  # the same seed, the same start
        assert torch.equal(head.state_dict()[name], value)
    biases = [layer.bias.tolist() for layer in head.abc_preds]
    assert biases == [pytest.approx([-math.log(99)] * 3)] * 3
