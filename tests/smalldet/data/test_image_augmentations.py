"""Augmentations of ours: what becomes of boxes, and where crops lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from coco_folders import write_image
from detectron2.data import transforms as T
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, BoxMode, Instances
from hypothesis import given
from hypothesis import strategies as st

from smalldet.data.augment import CropAroundBox, LabelledImage, ResizeToFit
from smalldet.data.mapper import SeededMapper

sides = st.integers(1, 60)


def labelled(height: int, width: int, *boxes: list[float]) -> LabelledImage:
    pixels = np.zeros((height, width, 3), np.uint8)
    return LabelledImage(pixels, np.array(boxes, float).reshape(-1, 4), np.arange(len(boxes)))


def record(path: Path, size: tuple[int, int], *boxes: list[float]) -> dict:
    """The entry of an image of ``size`` (width, height) with ``boxes`` xyxy."""
    mode = BoxMode.XYXY_ABS
    annotations = [{"bbox": box, "bbox_mode": mode, "category_id": 0} for box in boxes]
    write_image(path, size)
    return {
        "file_name": str(path),
        "image_id": 1,
        "width": size[0],
        "height": size[1],
        "annotations": annotations,
    }


@pytest.mark.parametrize("size", [(90, 30), (30, 90), (64, 64), (20, 10), (300, 1), (50, 49)])
def test_boxes_come_back_from_a_fitted_image(size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    boxes = [[0, 0, width, height], [width / 4, height / 3, width / 2, height / 2]]
    sample = SeededMapper([ResizeToFit(64)], True)(record(tmp_path / "a.png", size, *boxes))
    seen = sample["image"].shape[1:]
    assert max(seen) == 64 and min(seen) >= 1
    assert min(seen) == pytest.approx(max(1, 64 * min(size) / max(size)), abs=0.5)
    found = Instances(seen, pred_boxes=sample["instances"].gt_boxes)
    back = detector_postprocess(found, sample["height"], sample["width"])
    torch.testing.assert_close(back.pred_boxes.tensor, torch.tensor(boxes), rtol=0, atol=1e-4)


def test_it_fits_into_a_rectangle_as_well() -> None:
    for size, fitted in (((100, 50), (40, 20)), ((50, 100), (40, 80)), ((10, 90), (9, 80))):
        seen = labelled(*size)
        ResizeToFit([40, 80])(seen)
        assert seen.image.shape[:2] == fitted


@given(sides, sides, st.integers(1, 40), st.integers(1, 40), st.data())
def test_a_crop_holds_one_of_the_boxes_and_fills_its_size(height, width, high, wide, data) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = [
        left,
        top,
        data.draw(st.integers(left + 1, width)),
        data.draw(st.integers(top + 1, height)),
    ]
    seen = labelled(height, width, box)
    crop = CropAroundBox((high, wide))(seen)
    assert seen.image.shape[:2] == (min(high, height), min(wide, width))
    assert 0 <= crop.x0 <= width - crop.w and 0 <= crop.y0 <= height - crop.h
    held = [min(wide, box[2] - left), min(high, box[3] - top)]
    assert (seen.boxes[0, 2:] - seen.boxes[0, :2]).tolist() == held
    assert seen.visible[0] == pytest.approx(np.prod(held) / ((box[2] - left) * (box[3] - top)))


def test_crops_reach_every_place_that_they_may() -> None:
    np.random.seed(0)
    for boxes, expected in (
        ([], range(7)),
        ([[4.5, 0, 5.5, 4]], {2, 3, 4}),
        ([[1, 0, 9, 4]], range(1, 6)),
    ):
        seen = (
            CropAroundBox(4).get_transform(np.zeros((4, 10, 3)), np.array(boxes))
            for _ in range(200)
        )
        assert {crop.x0 for crop in seen} == {*expected}
    assert CropAroundBox(4).get_transform(np.zeros((9, 9, 3)), None).w == 4


def test_what_a_crop_cuts_off_does_not_come_back_in_padding() -> None:
    seen = labelled(20, 20, [0, 0, 10, 10], [6, 6, 18, 10], [12, 12, 20, 20])
    steps = [T.CropTransform(2, 2, 8, 8), T.PadTransform(0, 0, 12, 12), T.HFlipTransform(20)]
    T.AugmentationList(steps)(seen)
    assert seen.boxes.tolist() == [[12, 0, 20, 8], [12, 4, 16, 8], [12, 8, 12, 8]]
    assert seen.visible == pytest.approx([0.64, 1 / 3, 0])


@pytest.mark.parametrize(("least", "kept"), [(0.0, 3), (0.3, 3), (0.34, 2), (0.65, 1), (1.0, 1)])
def test_boxes_that_too_little_is_left_of_are_dropped_and_counted(
    least: float, kept: int, tmp_path: Path
) -> None:
    boxes = [[0, 0, 10, 10], [6, 6, 18, 10], [3, 3, 7, 7], [12, 12, 20, 20]]
    entry = record(tmp_path / "a.png", (20, 20), *boxes)
    steps = [
        ResizeToFit(37),
        T.CropTransform(0, 0, 37, 37),
        T.Resize(20),
        T.CropTransform(2, 2, 8, 8),
    ]
    sample = SeededMapper(steps, True, min_visible=least)(entry)
    assert len(sample["instances"]) == kept and sample["dropped_boxes"] == 4 - kept
    assert sample["instances"].gt_classes.tolist() == [0] * kept


def test_scale_jitter_and_crops_repeat_by_counter_and_keep_a_box(tmp_path: Path) -> None:
    entry = record(tmp_path / "a.png", (60, 40), [20, 10, 24, 15])
    scale = T.ResizeScale(0.5, 3.0, 64, 64)
    mapper = SeededMapper([scale, CropAroundBox(64), T.RandomFlip()], True, seed=3, min_visible=0.9)
    first = [mapper({**entry, "sample_counter": n}) for n in range(12)]
    again = [mapper({**entry, "sample_counter": n}) for n in range(12)]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one["image"], other["image"]) and len(one["instances"]) == 1
        assert max(one["image"].shape) <= 64
    widths = {float(Boxes.area(one["instances"].gt_boxes)) for one in first}
    assert len(widths) == 12
