"""Training samples as images, and sheets of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pictures.boxes import DARK, BoxSet, Theme, class_legend
from pictures.events import count_histogram, counts_to_image
from pictures.frame import draw_frame
from pictures.sheet import contact_sheet, write_image
from pictures.text import with_title


def sample_image(
    sample: Mapping[str, Any], step: int = 0, channels: str = "RGB", theme: Theme = DARK
) -> np.ndarray:
    """What the network sees, as (H, W, 3) uint8 RGB.

    Args:
        sample: with ``image`` (3, H, W), or with ``events`` (T, C, H, W).
        step: of events.
        channels: "RGB" or "BGR", of ``image``.
        theme: colours of events.
    """
    if "events" in sample:
        return counts_to_image(*count_histogram(np.asarray(sample["events"][step])), theme)
    image = np.asarray(sample["image"]).astype(np.uint8).transpose(1, 2, 0)
    return image[..., ::-1] if channels == "BGR" else image


def write_image_samples(
    samples: Iterable[Mapping[str, Any]],
    class_names: Sequence[str],
    out: Path,
    channels: str = "RGB",
    theme: Theme = DARK,
    side: int = 320,
) -> int:
    """Write a sheet of Detectron2's dicts with ``image`` and ``instances``; return how many.

    Args:
        samples: at least one.
        class_names: by class id.
        out: a .png file.
        channels: "RGB" or "BGR", of the images.
        theme: colours.
        side: of one picture, px.

    Raises:
        ValueError: another suffix.
    """
    check_sheet(out)
    tiles = []
    for sample in samples:
        image, labels = sample_image(sample, channels=channels), sample["instances"]
        truth = BoxSet(labels.gt_boxes.tensor.numpy(), labels.gt_classes.numpy())
        zoom = side / max(image.shape[:2])
        tiles.append(draw_frame(image, truth, None, class_names, theme, zoom))
    title = "training samples as augmented    boxes: ground truth"
    sheet = contact_sheet(tiles, theme=theme)
    legend = class_legend(class_names, theme)
    write_image(out, with_title(sheet, title, theme.truth, theme.background, legend))
    return len(tiles)


def check_sheet(out: Path) -> None:
    """Raise ValueError unless ``out`` is to be a .png file."""
    if out.suffix.lower() != ".png":
        raise ValueError(f"These pictures make a contact sheet; {out} must end in .png.")
