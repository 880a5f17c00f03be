"""The whole look at a data set, as text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smalldet.data.check.advice import anchor_advice, config_advice, overrides, size_advice
from smalldet.data.check.leakage import fingerprints, leakage_report
from smalldet.data.check.picture import draw_sizes
from smalldet.data.check.shapes import box_shapes, shapes_table
from smalldet.data.splits import CocoSplits


def data_check(
    dataset: CocoSplits,
    image_size: int,
    stride: int,
    anchor: float,
    keep_aspect: bool = False,
    picture: Path | None = None,
) -> str:
    """Sizes of boxes, images that splits share, and what to set, as overrides ready to paste.

    Args:
        dataset: all splits of which are looked at, each image once.
        image_size: height and width of the network input, px.
        stride: of the network's finest level, px of its input.
        anchor: side of its smallest anchor, px of its input.
        keep_aspect: images are fitted into the input instead of stretched to it.
        picture: gets a histogram of the sizes (PNG).

    Raises:
        DataError: the data cannot be used.
    """
    records = {split: dataset.records(split) for split in dataset.splits}
    shapes = {
        split: box_shapes(images, image_size, keep_aspect) for split, images in records.items()
    }
    files = {split: [image["file_name"] for image in found] for split, found in records.items()}
    if picture:
        draw_sizes(shapes, image_size, stride, anchor, picture)
    longer = np.median([max(image["width"], image["height"]) for image in records["train"]])
    size = size_advice(shapes["train"], image_size, float(longer), stride)
    zoom = size.get("dataloader.image_size", image_size) / image_size
    anchors = anchor_advice(shapes["train"], zoom, stride, anchor)
    resize = {"dataloader.resize": "keep_aspect"} if keep_aspect else {}
    seen = {"dataloader.image_size": image_size, **resize}
    settings = {**_settings(dataset, len(records["train"])), **seen}
    advised = {"For every config": {**settings, **size}, "Where it has anchors": anchors}
    return "\n\n".join(
        [
            f"Boxes at {' '.join(overrides(seen))}:",
            shapes_table(shapes, stride, anchor)
            + (f"\nas a picture: {picture}" if picture else ""),
            leakage_report({split: fingerprints(names) for split, names in files.items()}),
            *(f"{who}:\n{_pasted(values)}" for who, values in advised.items() if values),
            *filter(None, [config_advice(shapes["train"])]),
        ]
    )


def _settings(dataset: CocoSplits, images: int) -> dict[str, Any]:
    merge = {"dataset.merge": dataset.merge} if dataset.merge else {}
    return {
        "dataset.root": dataset.root,
        "dataset.classes": dataset.classes,
        **merge,
        "train.images": images,
    }


def _pasted(values: Mapping[str, Any]) -> str:
    return f"  {shlex.join(overrides(values))}"
