"""SeededMapper: what it gives, and that only seed and counter decide its randomness."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from coco_folders import write_image
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from PIL import Image

from smalldet.data.errors import DataError
from smalldet.data.mapper import SeededMapper


def record(path: Path, boxes: list[list[float]] = (), size: tuple[int, int] = (40, 30)) -> dict:
    annotations = [
        {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 0}
        for box in boxes
    ]
    entry = {"file_name": str(path), "image_id": 3, "width": size[0], "height": size[1]}
    return entry | {"annotations": annotations}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_resize_scales_image_and_boxes(picture: Path) -> None:
    mapper = SeededMapper([T.Resize((60, 120))], is_train=True)
    entry = record(picture, [[10, 5, 20, 10], [0, 0, 40, 30]])
    sample = mapper(entry)
    assert sample["image"].shape == (3, 60, 120)
    assert sample["image"].dtype == torch.uint8
    expected = torch.tensor([[30.0, 10, 90, 30], [0, 0, 120, 60]])
    torch.testing.assert_close(sample["instances"].gt_boxes.tensor, expected)
    assert sample["instances"].gt_classes.tolist() == [0, 0]
    assert (sample["height"], sample["width"], sample["image_id"]) == (30, 40, 3)
    assert entry == record(picture, [[10, 5, 20, 10], [0, 0, 40, 30]])  # untouched


def test_flipping_twice_is_the_identity(picture: Path) -> None:
    entry = record(picture, [[10, 5, 20, 10], [0, 0, 7, 30]])
    flip = T.RandomFlip(prob=1.0)
    once = SeededMapper([flip], True)(entry)
    twice = SeededMapper([flip, flip], True)(entry)
    plain = SeededMapper([], True)(entry)
    assert torch.equal(once["image"], plain["image"].flip(-1))
    assert torch.equal(twice["image"], plain["image"])
    torch.testing.assert_close(
        twice["instances"].gt_boxes.tensor, plain["instances"].gt_boxes.tensor
    )


def test_seed_and_counter_decide_and_global_generators_stay(picture: Path) -> None:
    noisy = [T.RandomBrightness(0.5, 1.5), T.RandomFlip(), T.RandomContrast(0.5, 1.5)]
    entry = record(picture)
    mapper, other = SeededMapper(noisy, True, seed=1), SeededMapper(noisy, True, seed=2)
    images = {n: mapper({**entry, "sample_counter": n})["image"] for n in range(4)}
    np.random.seed(99)
    random.seed(99)
    expected = np.random.RandomState(99).rand(), random.Random(99).random()
    for n in (3, 1, 2, 0):  # in any order, whatever the global state
        assert torch.equal(mapper({**entry, "sample_counter": n})["image"], images[n])
    assert (np.random.rand(), random.random()) == expected
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(other({**entry, "sample_counter": 0})["image"], images[0])
    far = [mapper({**entry, "sample_counter": n})["image"] for n in (2**32, 2**32 + 1)]
    assert not torch.equal(far[0], images[0])


def test_boxes_without_area_and_crowds_are_no_targets(picture: Path) -> None:
    entry = record(picture, [[0, 0, 5, 5], [20, 10, 8, 8], [21, 11, 5, 5]])
    entry["annotations"][2]["iscrowd"] = 1
    sample = SeededMapper([T.CropTransform(15, 5, 20, 20)], True)(entry)
    torch.testing.assert_close(
        sample["instances"].gt_boxes.tensor, torch.tensor([[5.0, 5, 13, 13]])
    )
    assert sample["dropped_boxes"] == 1


def test_negatives_have_empty_targets_and_evaluation_none(picture: Path) -> None:
    sample = SeededMapper([], is_train=True)(record(picture))
    assert sample["instances"].gt_boxes.tensor.shape == (0, 4)
    assert sample["instances"].gt_classes.dtype == torch.int64
    assert "instances" not in SeededMapper([], is_train=False)(record(picture))
    assert "instances" in SeededMapper([], False, with_instances=True)(record(picture))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "LA", "1"])
def test_any_kind_of_image_gives_three_channels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (40, 30), (255, 255, 255)).convert(mode).save(path)
    assert SeededMapper([], False)(record(path))["image"].shape == (3, 30, 40)


def test_formats_and_turned_images(tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30), (200, 100, 50)).save(path, exif=exif)
    entry = record(path, size=(30, 40))
    rgb = SeededMapper([], False)(entry)["image"]
    bgr = SeededMapper([], False, image_format="BGR")(entry)["image"]
    assert rgb.shape == (3, 40, 30)
    assert torch.equal(rgb, bgr.flip(0))
    assert SeededMapper([], False, image_format="L")(entry)["image"].shape == (1, 40, 30)


def test_unreadable_images_are_sentences_with_their_name(tmp_path: Path, picture: Path) -> None:
    data = picture.read_bytes()
    (tmp_path / "cut short.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("hello")
    for name in ("cut short.png", "text.png", "gone.png"):
        with pytest.raises(DataError, match=rf"{name} cannot be read"):
            SeededMapper([], False)(record(tmp_path / name))
    with pytest.raises(DataError, match=r"is 40 x 30 px, its entry says 30 x 40"):
        SeededMapper([], False)(record(picture, size=(30, 40)))
