"""What training changed: the same images, seen by the network before its first step and after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import instantiate

from pictures.boxes import DARK, BoxSet, Theme
from pictures.frame import draw_frame
from pictures.sheet import contact_sheet, write_image
from pictures.text import with_title
from smalldet.data.mapper import read_labelled
from smalldet.engine.build import build_model
from smalldet.engine.settings import read_settings
from smalldet.predict.images import ImagePredictor
from smalldet.predict.loading import find_source, load, predictor_of

RULE = "the surest boxes, no more than there are objects"


def before_after_sheet(
    run: Path,
    out: Path,
    split: str = "valid",
    images: int = 4,
    tile: int = 340,
    theme: Theme = DARK,
) -> Path:
    """Write a sheet of two rows: what a run's network finds before its training, and after.

    Both rows show the surest boxes, no more than there are objects, so that neither owes its looks
    to a threshold of this function (heads have one of their own). Ground truth is dashed.

    Args:
        run: the folder of a finished run on images.
        out: the PNG to write.
        split: the images with most objects of it are shown.
        images: how many.
        tile: side of one picture, px.
        theme: colours.

    Raises:
        ValueError, FileNotFoundError: it is no run folder, or has no weights or no images.
    """
    cfg = find_source(run).cfg
    untrained = predictor_of(cfg, build_model(cfg, read_settings(cfg["train"])))
    dataset: Any = instantiate(cfg["dataset"])
    records = dataset.records(split)
    fullest = sorted(records, key=lambda record: -len(record["annotations"]))[:images]
    rows = []
    for when, predictor in (("before", untrained), ("after", load(run))):
        if not isinstance(predictor, ImagePredictor):
            raise ValueError(f"{run} is a run on recordings; expected one on images.")
        pictures, counts = zip(*(_seen(r, predictor, tile, theme) for r in fullest), strict=True)
        title = f"{when} training: {sum(counts)} found ({RULE})    dashed: ground truth"
        row = contact_sheet(pictures, images, theme=theme)
        rows.append(with_title(row, title, theme.truth, theme.background))
    write_image(out, np.concatenate(rows))
    return out


def _seen(
    record: Mapping[str, Any], predictor: ImagePredictor, tile: int, theme: Theme
) -> tuple[np.ndarray, int]:
    """One image with its objects and at most as many predictions, and how many those are."""
    labelled = read_labelled(record, "RGB")
    found = predictor.predict(labelled.image, "RGB")[: len(labelled.boxes)]
    boxes = found.pred_boxes.tensor.numpy(), found.pred_classes.numpy(), found.scores.numpy()
    truth, zoom = BoxSet(labelled.boxes, labelled.classes), tile / max(labelled.image.shape[:2])
    names = predictor.class_names
    return draw_frame(labelled.image, truth, BoxSet(*boxes), names, theme, zoom), len(found)
