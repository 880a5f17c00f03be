"""The examples of docs/extend.md, executed as they stand there: they train, predict and agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import instantiate
from detectron2.utils.events import EventStorage

from eventcam.io.events import Events
from smalldet.detectors.image import ImageDetector
from toy_detection import labelled_image

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extend.md"
SIZE = 64  # px


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Names that the code of the page defines."""
    names: dict[str, Any] = {"__name__": "docs_extend"}
    for block in re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S
    ):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


def train(model: torch.nn.Module, steps: int = 30) -> list[float]:
    """Losses of steps on two images."""
    batch = [labelled_image(SIZE, SIZE - 8, 2), labelled_image(SIZE, SIZE, 0, seed=1)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    with EventStorage():
        for _ in range(steps):
            loss = sum(model(batch).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


def test_backbone_neck_and_head_of_ones_own_learn_and_find(page):
    torch.manual_seed(0)
    model = instantiate(page["model"])
    features = model.backbone(torch.zeros(2, 3, SIZE, SIZE))
    for name, shape in model.backbone.output_shape().items():
        assert features[name].shape == (2, shape.channels, *[SIZE // shape.stride] * 2)
    losses = train(model, 100)
    assert losses[-1] < losses[0] / 4
    image = labelled_image(SIZE, SIZE - 8, 2)
    with torch.no_grad():
        found = model.eval()([image])[0]["instances"]
    truth = image["instances"].gt_boxes.tensor
    best = found.pred_boxes.tensor[:2]
    assert (torch.cdist(best, truth).amin(0) < 8).all()  # both objects, to a few px


def test_a_loss_of_ones_own_is_0_for_equal_boxes_and_teaches_yolox(page):
    boxes = torch.tensor([[4.0, 4.0, 5.0, 5.0], [0.0, 0.0, 30.0, 20.0]], requires_grad=True)
    assert page["corner_loss"](boxes, boxes.detach()).tolist() == [0, 0]
    apart = page["corner_loss"](boxes, boxes.detach() + 100)
    (slope,) = torch.autograd.grad(apart.sum(), boxes)
    assert (apart > 0).all() and (slope < 0).all()  # boxes that do not touch are pulled together
    torch.manual_seed(0)
    model = ImageDetector(page["TwoMaps"](), page["CornerYOLOXHead"]())
    losses = train(model)
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("count", [0, 1, 500])
def test_a_representation_of_ones_own_equals_a_loop(page, count):
    representation = page["representation"]
    rng = np.random.default_rng(count)
    x, y, p = (rng.integers(0, most, count) for most in (240, 180, 2))
    times = np.sort(rng.integers(0, 50_000, count))
    events = Events(x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), times)
    expected = np.zeros((10, 90, 120))
    for i in range(count):
        duration = max(times[-1] - times[0], 1)
        bin_ = min((times[i] - times[0]) * 10 // duration, 9)
        expected[bin_, y[i] // 2, x[i] // 2] = 1 if p[i] else -1
    assert np.array_equal(representation(events), expected)
