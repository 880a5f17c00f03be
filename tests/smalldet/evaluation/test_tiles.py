"""Tiles cover the image, and each object is found once wherever it lies."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from detectron2.config import LazyCall
from detectron2.data import transforms as T
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st
from squares import SquareFinder, boxes_of, predictor, with_squares
from torch import nn

from smalldet.data.catalog import register
from smalldet.data.loader import build_eval_loader
from smalldet.data.mapper import SeededMapper
from smalldet.data.splits import CocoSplits
from smalldet.engine.run import score_splits
from smalldet.engine.settings import TrainSettings
from smalldet.evaluation.coco import CocoBoxEvaluator
from smalldet.evaluation.tiles import Tiling, merge, merge_boxes

sides = st.integers(1, 300)


@settings(deadline=None)
@given(sides, sides, st.integers(4, 120), st.floats(0, 0.9))
def test_tiles_cover_the_image_and_overlap_as_asked(height, width, size, overlap):
    whole, *tiles = Tiling(size, overlap).windows(height, width)
    assert whole == (0, 0, width, height)
    assert bool(tiles) == (max(height, width) > size)
    for axis, length in ((0, width), (1, height)):
        spans = sorted({(tile[axis], tile[axis + 2]) for tile in tiles})
        if not spans:
            continue
        assert spans[0][0] == 0 and spans[-1][1] == length
        assert {stop - start for start, stop in spans} == {min(size, length)}
        shared = [stop - start for (_, stop), (start, _) in pairwise(spans)]
        assert all(pixels >= int(overlap * size) - 1 for pixels in shared)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7)), min_size=1, max_size=8, unique=True),
    st.sampled_from(["nms", "nmm"]),
)
def test_every_object_is_found_once_wherever_it_lies(cells, way):
    corners = [(20 * column + 3, 20 * row + 5) for column, row in cells]
    image = with_squares(160, 200, corners)
    found = predictor(tiling=Tiling(64, 0.3, way)).predict(image, "RGB")
    assert boxes_of(found) == sorted((x, y, x + 12.0, y + 12) for x, y in corners)
    assert found.image_size == (160, 200)


def test_small_objects_are_seen_in_tiles_and_large_ones_in_the_whole():
    image = with_squares(240, 240, [(30, 170)], 16) + with_squares(240, 240, [(60, 20)], 130)
    squeezed = {"least": 10, "resize": 80}  # a third of the image's size
    without = predictor(**squeezed).predict(image, "RGB")
    tiled = predictor(**squeezed, tiling=Tiling(80, 0.25)).predict(image, "RGB")
    large = without.pred_boxes.tensor[0].tolist()
    assert boxes_of(without) == [tuple(large)]
    assert boxes_of(tiled) == [(30, 170, 46, 186), tuple(large)]


def test_tiles_and_the_whole_image_keep_their_shapes():
    corners = [(5, 20), (110, 40), (220, 8)]
    image = with_squares(70, 240, corners)
    found = predictor(resize=480, keep_aspect=True, tiling=Tiling(80, 0.25)).predict(image, "RGB")
    assert boxes_of(found) == [(x, y, x + 12, y + 12) for x, y in corners]


def test_boxes_of_two_classes_in_one_place_are_two_objects():
    image = with_squares(100, 200, [(80, 40)], colour=(255, 255, 255))
    image[40:52, 110:122] = (255, 0, 0)
    found = predictor(tiling=Tiling(64)).predict(image, "RGB")
    assert sorted(found.pred_classes.tolist()) == [0, 1]


def test_an_image_no_larger_than_a_tile_is_seen_once():
    one = predictor(tiling=Tiling(200))
    one.predict(with_squares(100, 150, [(10, 10)]), "RGB")
    assert one.model.sizes == [(100, 150)]


coordinates = st.integers(0, 12)
some_boxes = st.lists(
    st.tuples(*[coordinates] * 4, st.integers(0, 3), st.integers(0, 1)), max_size=12
)


@settings(deadline=None)
@given(some_boxes, st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_merging_is_that_of_the_slow_oracle(drawn, threshold):
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d, _, _ in drawn]
    scores, classes = [score / 4 for *_, score, _ in drawn], [k for *_, k in drawn]
    tensors = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores)
    merged, kept = merge_boxes(*tensors, torch.tensor(classes, dtype=torch.long), threshold)
    expected = slow_merge(boxes, scores, classes, threshold)
    assert list(zip(kept.tolist(), map(tuple, merged.tolist()), strict=True)) == expected
    assert all(torch.isin(merged[:, side], tensors[0][:, side]).all() for side in range(4))


def slow_merge(boxes, scores, classes, threshold):
    """Greedy merging box by box: the index of the best one and the box around them all."""
    waiting = sorted(range(len(boxes)), key=lambda index: -scores[index])
    found = []
    while waiting:
        best = waiting.pop(0)
        same = [one for one in waiting if classes[one] == classes[best]]
        group = [one for one in same if smaller_share(boxes[best], boxes[one]) > threshold]
        waiting = [one for one in waiting if one not in group]
        sides = list(zip(*[boxes[one] for one in [best, *group]], strict=True))
        found.append((best, (*map(min, sides[:2]), *map(max, sides[2:]))))
    return found


def smaller_share(one, other) -> float:
    """Area of the intersection as a share of the smaller box; 0 where that has no area."""
    area = min((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one, other))
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0) / area if area else 0.0


def test_parts_of_an_object_stay_two_boxes_with_nms_and_become_one_with_nmm():
    whole, part = Instances((100, 100)), Instances((64, 64))
    for found, box, score in ((whole, [10, 10, 50, 30], 0.6), (part, [30, 10, 50, 32], 0.9)):
        found.pred_boxes = Boxes(torch.tensor([box], dtype=torch.float32))
        found.scores, found.pred_classes = torch.tensor([score]), torch.tensor([0])
    windows = [(0, 0, 100, 100), (0, 0, 64, 64)]
    kept = merge([whole, part], windows, Tiling(64, merge="nms"))
    assert boxes_of(kept) == [(10, 10, 50, 30), (30, 10, 50, 32)]
    one = merge([whole, part], windows, Tiling(64, merge="nmm"))
    assert boxes_of(one) == [(10, 10, 50, 32)] and one.scores.tolist() == pytest.approx([0.9])


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"size": 64, "overlap": 1.0}, {"size": 64, "merge": "soft"}]
)
def test_tiles_without_size_or_step_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Tiling(**wrong)


def scored(folder: Path, model: nn.Module, train: dict[str, Any], **evaluator: Any):
    """Scores of a model on one image of two squares, resized to a third."""
    corners = [(30, 170), (150, 20)]
    write_split(folder / "data", dict.fromkeys(("train", "valid", "test"), corners))
    name = folder.name
    register(CocoSplits(str(folder / "data"), ("light",), name=name))
    resize = LazyCall(T.Resize)(shape=[80, 80])
    mapper = LazyCall(SeededMapper)(augmentations=[resize], is_train=False)
    loader = LazyCall(build_eval_loader)(dataset=f"{name}_test", mapper=mapper, num_workers=0)
    evaluator = LazyCall(CocoBoxEvaluator)(dataset=f"{name}_test", **evaluator)
    cfg = {"dataloader": {"test": loader}, "evaluation": {"test": evaluator}}
    settings = TrainSettings(output_dir=str(folder), max_iter=1, **train)
    return score_splits(cfg, settings, model)["test"]


def test_a_run_is_scored_with_tiles_beside_the_whole_images(tmp_path):
    model = SquareFinder(least=10).eval()
    scores = scored(tmp_path, model, {}, tile=80, overlap=0.25, tile_merge="nmm")
    assert scores["bbox/AP50"] == 0 and scores["tiled/AP50"] == pytest.approx(100)
    assert not model.training and scores["tiled/num_images"] == 1


def test_a_run_is_scored_in_bf16_beside_fp32(tmp_path, caplog):
    class Blinded(SquareFinder):
        """Sees nothing where it is rounded."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, inputs):
            self.least = 1000 if torch.is_autocast_enabled("cpu") else 0
            return super().forward(inputs)

    with caplog.at_level("INFO", "smalldet.engine.run"):
        scores = scored(tmp_path, Blinded().eval(), {"eval_precision": "bf16"})
    assert scores["bbox/AP50"] == pytest.approx(100) and scores["bf16/bbox/AP50"] == 0
    (said,) = [text for text in caplog.messages if text.startswith("bbox/AP on test")]
    assert f"{-scores['bbox/AP']:+.2f}" in said


def write_split(root: Path, splits: dict[str, list[tuple[int, int]]]) -> None:
    """A COCO folder with one image of squares (16 px) for each split."""
    for split, corners in splits.items():
        (root / split).mkdir(parents=True)
        image = with_squares(240, 240, corners, 16)
        cv2.imwrite(str(root / split / "squares.png"), image)
        boxes = [{"id": n, "bbox": [x, y, 16, 16]} for n, (x, y) in enumerate(corners)]
        common = {"image_id": 7, "category_id": 1, "area": 256, "iscrowd": 0}
        content = {
            "images": [{"id": 7, "file_name": "squares.png", "height": 240, "width": 240}],
            "categories": [{"id": 1, "name": "light"}],
            "annotations": [box | common for box in boxes],
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))
