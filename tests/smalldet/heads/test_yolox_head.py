"""The YOLOX head: settings, levels and sizes of any kind, hostile labels, mixed precision."""

from __future__ import annotations

import math

import pytest
import torch
from detectron2.config import LazyCall, instantiate
from detectron2.layers import ShapeSpec
from omegaconf import OmegaConf
from torch import Tensor, nn
from yolox_scenes import SIZE, features_of, labels, small_head

from smalldet.heads.base import HEAD_REGISTRY
from smalldet.heads.yolox import YOLOXHead
from smalldet.heads.yolox_cells import decode_boxes, encode_boxes, to_centres, to_corners
from toy_detection import gradients, pyramid


def check_training(head: YOLOXHead, features: dict[str, Tensor], instances: list) -> dict:
    """Losses and all gradients are there and finite; returns the losses."""
    losses = head.losses(features, instances)
    assert all(loss.isfinite() and loss >= 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    found = gradients(head)
    found.update({name: x.grad for name, x in features.items()})
    assert [name for name, grad in found.items() if grad is None] == []
    assert all(grad.isfinite().all() for grad in found.values())
    return {name: loss.item() for name, loss in losses.items()}


def crowd(count: int, side: float) -> Tensor:
    corners = torch.rand(count, 2) * torch.tensor([SIZE[1] - side, SIZE[0] - side])
    return torch.cat([corners, corners + side], dim=1)


SCENES = {
    "no objects": [[], []],
    "an empty image among others": [[[10, 10, 40, 40]], [], crowd(3, 12)],
    "a crowd": [crowd(300, 9.0)],
    "300 times the same box": [[[30, 30, 50, 50]] * 300],
    "one pixel": [[[10.2, 10.2, 11.2, 11.2], [40, 40, 41, 41]]],
    "without area": [[[10, 10, 10, 10], [20, 20, 20, 30]]],
    "far outside": [[[1e4, 1e4, 1e4 + 20, 1e4 + 20], [-1e8, 5, -1e8 + 64, 25]], crowd(2, 20)],
    "only far outside": [[[5000, 5000, 5010, 5010]]],
    "larger than the image": [[[-1e6, -1e6, 1e6, 1e6]]],
}


@pytest.mark.parametrize("rescue", [False, True])
@pytest.mark.parametrize("scene", SCENES)
def test_hostile_labels(scene: str, rescue: bool):
    boxes = SCENES[scene]
    head = small_head(rescue_unmatched=rescue, size_aware_loss=True, use_l1=True)
    instances = [labels(b) for b in boxes]
    losses = check_training(head, features_of(head, len(boxes)), instances)
    assert losses["loss_iou"] <= 5 * 2.0 and losses["loss_cls"] < 50
    counts = head.loss_sums(features_of(head, len(boxes)), instances).counts
    cells = len(boxes) * (8 * 12 + 4 * 6 + 2 * 3)
    assert counts[1] == sum(len(b) for b in boxes) and counts[0] <= cells
    if rescue:
        assert counts[0] >= min(counts[1], cells)


@pytest.mark.parametrize("strides", [(4,), (2, 4, 8, 16), (32, 8), (4, 8, 16, 32, 64)])
def test_any_levels_and_strides(strides: tuple[int, ...]):
    head = small_head(strides)
    features = features_of(head, 2, (128, 192))
    check_training(head, features, [labels(crowd(4, 20)), labels([])])
    assert list(head.strides.values()) == sorted(strides)
    with torch.no_grad():
        decoded = head.eval().decode(features)
    assert decoded.shape == (2, sum(128 * 192 // s**2 for s in strides), 5 + 3)


def test_another_size_with_as_many_cells_is_decoded_on_its_own_grid():
    head = small_head().eval()
    with torch.no_grad():
        for level in head.reg_preds:
            nn.init.zeros_(level.weight)
            nn.init.zeros_(level.bias)
        for height, width in [(96, 128), (128, 96), (96, 128)]:
            boxes = head.decode(features_of(head, 1, (height, width)))[0, :, :4]
            corners = boxes[:, :2].amax(0) + boxes[:, 2:].amin(0)
            assert corners.tolist() == [width, height]


def test_decoding_undoes_encoding():
    head = small_head()
    _, cells = head.outputs(features_of(head, 1))
    boxes = to_centres(torch.cat([crowd(len(cells.strides), 7.0)]))
    outputs = encode_boxes(boxes, cells.indices, cells.strides)
    torch.testing.assert_close(decode_boxes(outputs, cells.indices, cells.strides), boxes)
    torch.testing.assert_close(to_centres(to_corners(boxes)), boxes)


def test_huge_outputs_give_finite_losses():
    head = small_head()
    for layer in head.reg_preds:
        nn.init.constant_(layer.bias, 1000.0)
    check_training(head, features_of(head, 1), [labels(crowd(3, 20))])


def test_bf16_assigns_and_loses_in_float32():
    head, instances = small_head(), [labels(crowd(5, 20)), labels([])]
    plain = head.losses(features_of(head, 2), instances)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = head.losses(features_of(head, 2), instances)
        decoded = head.decode(features_of(head, 2))
        outputs, _ = head.outputs(features_of(head, 2))
    assert {x.dtype for x in (*losses.values(), decoded, outputs)} == {torch.float32}
    for name, loss in losses.items():
        torch.testing.assert_close(loss, plain[name], rtol=0.1, atol=0.1)


def test_what_is_refused():
    head = small_head()
    with pytest.raises(ValueError, match=r"1 instances for 2 frames of features"):
        head.losses(features_of(head, 2), [labels([])])
    with pytest.raises(ValueError, match=r"0 instances for 0 frames .* at least one"):
        head.losses(features_of(head, 0), [])
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=f"A box has class {wrong}, but num_classes=3"):
            head.losses(features_of(head, 1), [labels([[0, 0, 9, 9]], [wrong])])
    with pytest.raises(RuntimeError, match=r"Call eval\(\) first"):
        head.predict(features_of(head, 1), [SIZE])
    with pytest.raises(RuntimeError, match=r"without begin_step\(\)"):
        head.end_step()
    levels = "there are the levels p2, p3, p4, p5, p6"
    for settings, sentence in [
        ({"num_classes": 0}, "num_classes is 0"),
        ({"max_detections": 0}, "max_detections is 0"),
        ({"weight_type": "cubic"}, "choose one of exponential"),
        ({"size_aware_weight": 0.5}, "give at least 1"),
        ({"in_features": ["p7"]}, levels),
        ({"in_features": []}, levels),
        ({"activation": "tanh"}, "activation='tanh' is unknown"),
        ({"iou_loss": "hinge"}, "'hinge' is unknown; choose one of"),
        ({"classification_loss": "hinge"}, "'hinge' is unknown; choose one of"),
        ({"size_aware_loss": True, "size_aware_terms": ["boxes"]}, "'boxes' is unknown; choose"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            YOLOXHead(**settings).build(pyramid().output_shape())


def test_settings_come_from_a_configuration():
    levels = OmegaConf.create(["p4", "p3"])
    node = LazyCall("smalldet.heads.yolox.YOLOXHead")(in_features=levels)
    head = instantiate(node).build(pyramid(32).output_shape())
    assert list(head.strides) == ["p3", "p4"]
    assert HEAD_REGISTRY.get("YOLOXHead") is YOLOXHead and isinstance(head, YOLOXHead)
    assert head.cls_preds[0].out_channels == 8 and head.stems[0].conv.out_channels == 8


@pytest.mark.parametrize(
    ("base", "classes", "parameters"),
    [(32, 3, 474_520), (48, 3, 1_065_048), (64, 3, 1_891_096), (64, 8, 1_891_096 + 5 * 3 * 129)],
)
def test_parameter_counts_and_names_are_those_of_rvt(base: int, classes: int, parameters: int):
    shapes = {
        f"stage{i}": ShapeSpec(channels=base * 2 ** (i - 1), stride=2 ** (i + 1)) for i in (2, 3, 4)
    }
    head = YOLOXHead(num_classes=classes).build(shapes)
    assert sum(p.numel() for p in head.parameters()) == parameters
    names = dict(head.named_parameters())
    assert {"stems.0.conv.weight", "cls_convs.2.1.bn.bias", "reg_convs.1.0.conv.weight"} <= {*names}
    for name in ("cls_preds.0.bias", "obj_preds.2.bias"):
        assert names[name].tolist() == pytest.approx([-math.log(99)] * len(names[name]))
    roots = "stems cls_convs reg_convs cls_preds reg_preds obj_preds"
    assert {name.split(".")[0] for name in names} == {*roots.split()}
