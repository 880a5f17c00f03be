"""From predictions to detections: thresholds, NMS within classes, and what a trained head finds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms
from yolox_scenes import SIZE, features_of, labels, small_head

from smalldet.heads.yolox_cells import to_centres
from smalldet.heads.yolox_detections import class_aware_nms, select_detections


def decoded(boxes: list, objectness: list, confidences: list) -> torch.Tensor:
    boxes = to_centres(torch.tensor(boxes, dtype=torch.float32))
    return torch.cat([boxes, torch.tensor(objectness)[:, None], torch.tensor(confidences)], dim=1)


def test_fields_and_order():
    found = select_detections(
        decoded(
            [[0, 0, 10, 10], [40, 40, 50, 50], [-5, 20, 3, 30], [0, 0, 9, 10]],
            [0.5, 0.9, 0.8, 1.0],
            [[0.8, 0.1], [0.2, 0.9], [0.05, 0.1], [0.1, 0.3]],
        ),
        SIZE,
        score_threshold=0.1,
        nms_threshold=0.45,
    )
    assert found.image_size == SIZE
    assert found.pred_classes.tolist() == [1, 0, 1]  # the third box scores 0.08
    torch.testing.assert_close(found.scores, torch.tensor([0.81, 0.4, 0.3]))
    torch.testing.assert_close(found.scores, found.objectness * found.class_confidence)
    assert found.pred_boxes.tensor.tolist() == [[40, 40, 50, 50], [0, 0, 10, 10], [0, 0, 9, 10]]


def test_duplicates_go_within_a_class_only_and_the_best_are_kept():
    rows = decoded(
        [[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40]],
        [1.0, 1.0, 1.0],
        [[0.9, 0.0], [0.8, 0.0], [0.7, 0.0]],
    )
    found = select_detections(rows, SIZE, 0.1, 0.45)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
    assert len(select_detections(rows, SIZE, 0.1, 0.45, max_detections=1)) == 1
    for count, threshold, left in [(1, 0.1, 1), (1, 0.95, 0), (0, 0.1, 0)]:
        assert len(select_detections(rows[:count], SIZE, threshold, 0.45)) == left
    rows[1, 5:] = torch.tensor([0.0, 0.8])
    assert len(select_detections(rows, SIZE, 0.1, 0.45)) == 3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(1, 5), st.integers(0, 10**6))
def test_nms_equals_torchvision(count: int, classes: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 50
    boxes = torch.cat([corner, corner + 5 + 20 * torch.rand(count, 2, generator=generator)], dim=1)
    scores = torch.rand(count, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    found = class_aware_nms(boxes, scores, labels, 0.45)
    assert found.tolist() == sorted(batched_nms(boxes, scores, labels, 0.45).tolist())


def test_one_huge_box_does_not_blur_the_others():
    boxes = torch.tensor([[-1e9, -1e9, 1e9, 1e9], [10, 10, 12, 12], [12, 10, 14, 12]])
    scores, classes = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 1])
    assert class_aware_nms(boxes, scores, classes, 0.45).tolist() == [0, 1, 2]


def test_a_head_that_has_learned_a_scene_finds_it():
    """Losses, decoding and NMS speak of the same boxes."""
    scene = [labels([[4, 4, 20, 20], [40, 10, 90, 60]], [0, 2]), labels([])]
    head = small_head((8, 16), width=16)
    features = {name: x.detach() for name, x in features_of(head, 2).items()}
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, 150)  # it settles
    for _ in range(150):
        optimizer.zero_grad()
        sum(head.losses(features, scene).values()).backward()
        optimizer.step()
        falling.step()
    with torch.no_grad():
        for _ in range(30):  # running statistics catch up
            head.decode(features)
        first, second = head.eval().predict(features, [SIZE, SIZE])
    first, second = first[first.scores > 0.3], second[second.scores > 0.3]
    assert len(first) == 2 and len(second) == 0
    found = dict(zip(first.pred_classes.tolist(), first.pred_boxes.tensor, strict=True))
    for label, box in [(0, [4.0, 4, 20, 20]), (2, [40.0, 10, 90, 60])]:
        torch.testing.assert_close(found[label], torch.tensor(box), rtol=0, atol=4)
