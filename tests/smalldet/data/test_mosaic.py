"""Mosaics: boxes lie where their objects are, and nothing is made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image

from smalldet.data.augment import ResizeToFit
from smalldet.data.mapper import SeededMapper
from smalldet.data.mosaic import PADDING, Mosaic

SIZES = [(40, 30), (90, 20), (16, 70), (64, 64), (8, 8)]  # width, height


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[dict]:
    """Dark images with two bright objects each, of class 0 and 1; the last has none."""
    folder = tmp_path_factory.mktemp("mosaic")
    found = [record(folder / f"{n}.png", n, *size) for n, size in enumerate(SIZES)]
    DatasetCatalog.register("mosaic_images", lambda: found)
    yield found
    DatasetCatalog.remove("mosaic_images")


def record(path: Path, number: int, width: int, height: int) -> dict:
    pixels = np.zeros((height, width, 3), np.uint8)
    boxes = [[1, 2, 6, 7], [width - 6, height - 9, width - 1, height - 1]][: 2 * (width > 8)]
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = 255
    Image.fromarray(pixels).save(path)
    mode = BoxMode.XYXY_ABS
    entries = [{"bbox": b, "bbox_mode": mode, "category_id": k} for k, b in enumerate(boxes)]
    facts = {"image_id": number, "width": width, "height": height, "annotations": entries}
    return {"file_name": str(path), **facts}


def drawn(sample: dict) -> torch.Tensor:
    """Where the boxes say that something bright is, (H, W) bool."""
    mask = torch.zeros(sample["image"].shape[1:], dtype=torch.bool)
    for left, top, right, bottom in sample["instances"].gt_boxes.tensor.int().tolist():
        mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("shape", [48, (32, 80), 200])
def test_boxes_lie_on_their_objects_and_all_of_them_have_one(records, shape) -> None:
    mapper = SeededMapper([Mosaic("mosaic_images", shape, prob=1)], True)
    height, width = (shape, shape) if isinstance(shape, int) else shape
    counts = set()
    for counter in range(40):
        sample = mapper({**records[counter % len(records)], "sample_counter": counter})
        image = sample["image"]
        assert image.shape == (3, height, width) and image.dtype == torch.uint8
        assert torch.equal(image[0] == 255, drawn(sample))
        assert {*image.unique().tolist()} <= {0, PADDING, 255}
        assert (image[0] == PADDING).any() or height < 60
        counts.add(len(sample["instances"]) + sample["dropped_boxes"])
    assert counts <= {0, 2, 4, 6, 8} and max(counts) >= 6


def test_resized_pieces_keep_their_boxes(records) -> None:
    scale = T.ResizeScale(0.5, 2.0, 64, 64)
    mapper = SeededMapper([Mosaic("mosaic_images", 64, [scale], prob=1)], True, min_visible=0.5)
    dropped = 0
    for counter in range(20):
        sample = mapper({**records[3], "sample_counter": counter})
        dropped += sample["dropped_boxes"]
        for box in sample["instances"].gt_boxes.tensor.round().int().tolist():
            left, top, right, bottom = box
            assert sample["image"][0, top:bottom, left:right].float().mean() > 127
    assert dropped


def test_it_is_as_likely_as_asked_and_an_image_alone_is_augmented_too(records) -> None:
    for prob, low, high in ((0, 0, 0), (0.5, 10, 30), (1, 40, 40)):
        mosaic = Mosaic("mosaic_images", 50, [ResizeToFit(24)], prob)
        samples = [SeededMapper([mosaic], True, seed=n)(records[0]) for n in range(40)]
        shapes = [tuple(sample["image"].shape[1:]) for sample in samples]
        assert low <= shapes.count((50, 50)) <= high and {*shapes} <= {(50, 50), (18, 24)}


def test_pieces_come_from_the_whole_split_and_from_the_counter_alone(records) -> None:
    mapper = SeededMapper([Mosaic("mosaic_images", 400, prob=1)], True, seed=2)
    samples = [mapper({**records[4], "sample_counter": n}) for n in range(30)]
    assert {len(sample["instances"]) for sample in samples} >= {2, 4, 6}
    again = mapper({**records[4], "sample_counter": 7})
    assert torch.equal(again["image"], samples[7]["image"])
    centres = {int((s["image"][0] != PADDING).nonzero()[:, 0].max()) for s in samples}
    assert len(centres) > 10
