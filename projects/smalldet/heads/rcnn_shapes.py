"""The arguments of Detectron2's R-CNN modules that follow from the levels of a backbone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from detectron2.layers import ShapeSpec

from smalldet.heads.base import select_levels

FOLLOWS = "???"  # OmegaConf's mark of a value that the program fills in
PROPOSALS_ONLY_ABOVE = 32  # stride, px; as in FPN, p6 serves the proposals and not the boxes
ANCHOR_PER_STRIDE = 8  # 32 px on stride 4 up to 512 px on stride 64

Node = dict[str, Any]


def fill_shapes(parts: Node, levels: Mapping[str, ShapeSpec], width: int) -> None:
    """Write what follows from the levels in the place of each "???" of ``parts``.

    Boxes are pooled from the levels with a stride of at most 32 px, and anchors are 8 x the stride
    of their level, unless ``parts`` say otherwise.

    Args:
        parts: LazyCalls of a ``proposal_generator`` and of ``roi_heads``, as plain dicts.
        levels: that proposals are made on, finest first.
        width: channels of each.

    Raises:
        ValueError: the levels and the given arguments do not fit.
    """
    proposals, boxes = parts["proposal_generator"], parts["roi_heads"]
    anchors = proposals["anchor_generator"]
    strides = [shape.stride for shape in levels.values()]
    sizes = [[ANCHOR_PER_STRIDE * shape.stride] for shape in levels.values()]
    proposals["in_features"] = list(levels)
    _fill(anchors, strides=strides, sizes=sizes)
    per_cell = anchors_per_cell(anchors["sizes"], anchors["aspect_ratios"], strides)
    _fill(proposals["head"], in_channels=width, num_anchors=per_cell)
    pooled = list(pooled_levels(levels, boxes["box_in_features"]))
    boxes["box_in_features"] = pooled
    _fill(boxes["box_pooler"], scales=pooler_scales(pooled, list(levels), strides))
    for head in boxes["box_heads"]:
        _fill(head["input_shape"], channels=width)


def proposal_levels(
    input_shape: Mapping[str, ShapeSpec], in_features: Sequence[str]
) -> dict[str, ShapeSpec]:
    """The levels with these names, or all for "???", finest first."""
    names = None if in_features == FOLLOWS else in_features
    return select_levels(input_shape, names, "in_features")


def pooled_levels(
    levels: Mapping[str, ShapeSpec], box_in_features: Sequence[str]
) -> dict[str, ShapeSpec]:
    """Those with these names, or for "???" of at most 32 px stride (else the finest one)."""
    if box_in_features == FOLLOWS:
        fine = [name for name, shape in levels.items() if shape.stride <= PROPOSALS_ONLY_ABOVE]
        box_in_features = fine or list(levels)[:1]
    return select_levels(levels, box_in_features, "box_in_features")


def feature_width(levels: Mapping[str, ShapeSpec], projected_channels: int) -> int:
    """Channels of all levels, or ``projected_channels`` where they differ."""
    declared = {shape.channels for shape in levels.values()}
    return declared.pop() if len(declared) == 1 else projected_channels


def anchors_per_cell(
    sizes: Sequence[Sequence[float]], aspect_ratios: Sequence[float], strides: Sequence[int]
) -> int:
    """Number of anchors at each place of a level.

    Args:
        sizes: px, one list a level.
        aspect_ratios: height / width, of each size.
        strides: px, of the levels.

    Raises:
        ValueError: there is not one list a level, or they differ in length.
    """
    if len(sizes) != len(strides):
        raise ValueError(
            f"The anchors have {len(sizes)} lists of sizes, but there are {len(strides)} levels of "
            f"the strides {list(strides)}. Give one list a level, finest first."
        )
    if len({len(level) for level in sizes}) > 1:
        raise ValueError(
            f"The sizes of the anchors are {sizes}: all levels share one proposal head, so give "
            "each level the same number of sizes."
        )
    return len(sizes[0]) * len(aspect_ratios)


def pooler_scales(
    box_in_features: Sequence[str], in_features: Sequence[str], strides: Sequence[int]
) -> list[float]:
    """Size of each pooled level relative to the image.

    Args:
        box_in_features: names of the pooled levels, finest first.
        in_features: names of all levels.
        strides: of all levels, px.

    Raises:
        ValueError: the strides are no pyramid of halves, which Detectron2's pooler assumes.
    """
    stride_of = dict(zip(in_features, strides, strict=True))
    pooled = [stride_of[name] for name in box_in_features]
    halving = all(coarse == 2 * fine for fine, coarse in pairwise(pooled))
    if not halving or not math.log2(pooled[0]).is_integer():
        raise ValueError(
            f"Boxes are pooled from {', '.join(box_in_features)} with strides {pooled}; each must "
            "be a power of two and twice the one before. Choose others by box_in_features."
        )
    return [1.0 / stride for stride in pooled]


def _fill(node: Node, **values: Any) -> None:
    node.update({key: value for key, value in values.items() if node[key] == FOLLOWS})
