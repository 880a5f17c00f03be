"""What stands around a graph: padding, NMS, memory. The graph is the model itself here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_check import LEVELS
from toy_runs import spread

from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.backbones.vim import VisionMamba
from smalldet.detectors import ImageDetector, RecurrentDetector
from smalldet.export.command import manifest_of
from smalldet.export.program import Program, plan_of
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.pafpn import PAFPN
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid
from smalldet.predict.exported import ExportedImages, ExportedModel, ExportedRecordings
from toy_detection import PatchBackbone

HEAD: dict[str, Any] = {"num_classes": 3, "score_threshold": 0.02, "max_detections": 25}


def copied(model: torch.nn.Module, size: tuple[int, int]) -> ExportedModel:
    """``model`` as if it came from a file."""
    plan = plan_of(Program(model), size)
    kind = ExportedRecordings if plan.program.recurrent else ExportedImages
    return kind(lambda *given: list(plan.program(*given)), manifest_of(plan, ["a", "b", "c"]))


def assert_same(found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        a, b = one["instances"], other["instances"]
        assert a.image_size == b.image_size and len(a) == len(b) > 0
        torch.testing.assert_close(a.pred_boxes.tensor, b.pred_boxes.tensor, rtol=0, atol=1e-3)
        torch.testing.assert_close(a.scores, b.scores, rtol=0, atol=1e-5)
        assert torch.equal(a.pred_classes, b.pred_classes)
        assert {k: v for k, v in one.items() if k != "instances"} == {
            k: v for k, v in other.items() if k != "instances"
        }


@torch.no_grad()
def test_images_of_several_sizes_are_padded_and_scaled_as_the_model_does() -> None:
    torch.manual_seed(0)
    model = spread(ImageDetector(PatchBackbone(LEVELS), YOLOXHead(**HEAD)), 1.0)
    copy = copied(model, (60, 90))
    for height, width in ((50, 70), (64, 96), (33, 17)):
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        inputs = [{"image": image, "height": 2 * height, "width": width}]
        assert_same(copy(inputs), model(inputs))  # alone: in a batch the model pads to the largest


@torch.no_grad()
def test_images_are_padded_to_a_fixed_grid_as_the_model_does() -> None:
    torch.manual_seed(0)
    neck = SimpleFeaturePyramid(VisionMamba(64, embed_dim=16, depth=1), out_channels=8)
    model = spread(ImageDetector(neck, YOLOXHead(**HEAD)), 1.0)
    copy = copied(model, (48, 64))
    assert copy.manifest.size == [64, 64]
    for height, width in ((40, 64), (64, 30), (64, 64)):
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        inputs = [{"image": image, "height": 3 * height, "width": 3 * width}]
        assert_same(copy(inputs), model(inputs))


@torch.no_grad()
def test_streams_have_memories_of_their_own() -> None:
    torch.manual_seed(0)
    rvt = MaxViTRNN(embed_dim=8, dim_head=4, partition_split=1)
    model = spread(RecurrentDetector(PAFPN(rvt), YOLOXHead(**HEAD)), 10.0)
    copy = copied(model, (60, 90))

    def sample(steps: int, stream: int, is_first: bool) -> dict[str, Any]:
        counts = torch.poisson(torch.full((steps, 20, 60, 90), 0.3)).to(torch.uint8)
        return {"events": counts, "stream": stream, "is_first": is_first}

    for batch in (
        [sample(1, 0, True), sample(3, 1, True)],
        [sample(2, 1, False), sample(2, 0, False)],
        [sample(1, 0, True), sample(1, 1, False), sample(1, 2, False)],  # 2 was never seen
    ):
        assert_same(copy(batch), model(batch))


def test_another_size_than_that_of_the_graph_is_refused() -> None:
    rvt = MaxViTRNN(embed_dim=8, dim_head=4, partition_split=1)
    copy = copied(RecurrentDetector(PAFPN(rvt), YOLOXHead(**HEAD)).eval(), (60, 90))
    assert copy.padded(torch.zeros(20, 33, 65)).shape == (1, 20, 64, 96)
    with pytest.raises(ValueError, match=r"takes 64x96 px.*is 65x90.*--size 65 90"):
        copy.padded(torch.zeros(20, 65, 90))
