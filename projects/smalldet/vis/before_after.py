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

RULE = "as many boxes as there are objects, the surest first    dashed: ground truth"


def before_after_sheet(
    run: Path,
    out: Path,
    split: str = "valid",
    images: int = 4,
    tile: int = 340,
    theme: Theme = DARK,
) -> Path:
    """Write a sheet of two rows: what a run's network finds before its training, and after.

    Both rows show as many boxes as there are objects, the surest first, so that neither owes its
    looks to a threshold. Ground truth is dashed.

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
    records = instantiate(cfg["dataset"]).records(split)
    fullest = sorted(records, key=lambda record: -len(record["annotations"]))[:images]
    rows = []
    for when, predictor in (("before", untrained), ("after", load(run))):
        if not isinstance(predictor, ImagePredictor):
            raise ValueError(f"{run} is a run on recordings; expected one on images.")
        row = contact_sheet([_seen(r, predictor, tile, theme) for r in fullest], images, 6, theme)
        rows.append(with_title(row, f"{when} training: {RULE}", theme.truth, theme.background))
    write_image(out, np.concatenate(rows))
    return out


def _seen(record: Mapping[str, Any], shown: ImagePredictor, tile: int, theme: Theme) -> np.ndarray:
    """One image with its objects and as many predictions."""
    labelled = read_labelled(record, "RGB")
    found = shown.predict(labelled.image, "RGB")[: len(labelled.boxes)]
    boxes = found.pred_boxes.tensor.numpy(), found.pred_classes.numpy(), found.scores.numpy()
    truth, zoom = BoxSet(labelled.boxes, labelled.classes), tile / max(labelled.image.shape[:2])
    return draw_frame(labelled.image, truth, BoxSet(*boxes), shown.class_names, theme, zoom)
