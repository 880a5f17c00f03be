"""Which cells of a YOLOX head learn which objects: SimOTA's choice for training samples.

The choice is the one that the losses are computed from, :meth:`YOLOXHead.assign`. Shape shorthand:
N objects of a frame, P positive cells of them, L levels, finest first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from detectron2.config import instantiate
from tabulate import tabulate
from torch import nn

from pictures.boxes import CLASS_COLOURS, DARK, Theme, dashed_box
from pictures.frame import enlarged, zoom_for
from pictures.sheet import contact_sheet, write_image
from pictures.text import Colour, with_title
from smalldet.data.catalog import registered
from smalldet.detectors.base import Detector
from smalldet.engine.build import build_model
from smalldet.engine.settings import read_settings
from smalldet.heads.yolox import YOLOXHead
from smalldet.heads.yolox_losses import Assigned
from smalldet.predict.loading import find_source, load_weights_of
from smalldet.vis.samples import check_sheet, sample_image

LEVEL_COLOURS: tuple[Colour, ...] = tuple(CLASS_COLOURS[k] for k in (4, 1, 2, 0, 5, 7))
UNASSIGNED: Colour = (255, 60, 60)
SIZES = ("small", "medium", "large")
_TILE = 480  # px of one picture


@dataclass(frozen=True)
class AssignedFrame:
    """A training image or step of events, and the positive cells of its objects.

    Attributes:
        image: (H, W, 3) uint8 RGB, as the network sees it.
        boxes: (N, 4) xyxy_abs, px of ``image``.
        centres: (P, 2) x and y of the middle of each positive cell, px of ``image``.
        levels: (P,) level of each.
        objects: (P,) row of ``boxes`` that each learns.
    """

    image: np.ndarray
    boxes: np.ndarray
    centres: np.ndarray
    levels: np.ndarray
    objects: np.ndarray

    def cells(self, levels: int) -> np.ndarray:
        """(N, L) how many cells each object has on each level."""
        counts = np.zeros((len(self.boxes), levels), np.int64)
        np.add.at(counts, (self.objects, self.levels), 1)
        return counts


def show_assignment(
    config: Path, overrides: Sequence[str], out: Path, frames: int = 4, theme: Theme = DARK
) -> str:
    """Write a sheet of what a config trains on; return its table, with a line on the weights.

    Args:
        config: a config file; beside ``config.yaml`` of a run lie the weights that are taken.
        overrides: ``key=value`` for it.
        out, frames, theme: see :func:`write_assignment`.

    Raises:
        ValueError: see there, and where the config cannot be used.
        FileNotFoundError: data or weights are missing.
    """
    source = find_source(config, overrides=overrides)
    model = build_model(source.cfg, read_settings(source.cfg["train"]))
    yolox_head(model)  # first: weights that are missing are of no interest without it
    check_sheet(out)
    registered(source.cfg["dataset"])
    load_weights_of(source, model)
    loader: Any = instantiate({**source.cfg["dataloader"]["train"], "num_workers": 0})
    table = write_assignment(model, chain.from_iterable(loader), out, frames, theme)
    weights = source.weights or "those that training starts from"
    return f"{out}: as {config} trains on them; weights: {weights}\n{table}"


def yolox_head(model: nn.Module) -> YOLOXHead:
    """The head of ``model`` that SimOTA gives cells to.

    Raises:
        ValueError: it has none.
    """
    head = getattr(model, "head", None)
    if isinstance(model, Detector) and isinstance(head, YOLOXHead):
        return head
    holder = type(model).__name__ + (f" with {type(head).__name__}" if head is not None else "")
    raise ValueError(
        f"SimOTA gives cells to the objects of YOLOX heads; this model, {holder}, chooses in a way "
        "of its own. Show its samples without the assignment, or name a config with a YOLOXHead, "
        "as configs/examples/yolox_vim_tiny.py."
    )


@torch.no_grad()
def assigned_frames(
    model: nn.Module, batches: Iterable[Sequence[Mapping[str, Any]]], theme: Theme = DARK
) -> Iterator[AssignedFrame]:
    """The labelled frames of training batches, with what the head's losses would be given.

    Args:
        model: a detector with a YOLOX head; it is put into training mode.
        batches: as it is trained on; recordings go on from one to the next.
        theme: colours of events.

    Raises:
        ValueError: the model has no YOLOX head.
    """
    head, channels = yolox_head(model.train()), getattr(model, "input_format", "RGB")
    detector = cast(Detector, model)
    for batch in batches:
        inputs = detector.head_inputs(batch)
        if not inputs.frames:
            continue
        assigned = head.assign(inputs.features, inputs.targets)
        for number, frame in enumerate(inputs.frames):
            image = sample_image(batch[frame.sample], frame.step, channels, theme)
            yield _frame(image, assigned, number)


def _frame(image: np.ndarray, assigned: Assigned, number: int) -> AssignedFrame:
    """The part of one frame of a batch."""
    _, cells, objects, found = assigned
    first = sum(objects.counts[:number])
    boxes = objects.boxes[first : first + objects.counts[number]]
    mine = found.frames == number
    strides = torch.tensor([level.stride for level in cells.levels], device=found.cells.device)
    levels = (cells.strides[found.cells[mine], None] == strides).int().argmax(1)
    arrays = (boxes, cells.centres[found.cells[mine]], levels, found.objects[mine] - first)
    return AssignedFrame(image, *(array.cpu().numpy() for array in arrays))


def draw_assignment(frame: AssignedFrame, theme: Theme = DARK, zoom: float = 1) -> np.ndarray:
    """A new picture: a dot in the middle of each cell, tied to the middle of its object.

    Dots have the colour of their level and are larger the coarser it is. Objects are dashed; those
    without a cell are crossed out.

    Args:
        frame: an image and its cells.
        theme: colour of the objects.
        zoom: enlargement.
    """
    picture = enlarged(frame.image, zoom, smooth=False)
    corners = np.round(frame.boxes * zoom).astype(int)
    held = np.bincount(frame.objects, minlength=len(corners))
    for box, cells in zip(corners, held.tolist(), strict=True):
        dashed_box(picture, box, theme.truth, 1)
        if not cells:
            x0, y0, x1, y1 = box.tolist()
            cv2.rectangle(picture, (x0, y0), (x1, y1), UNASSIGNED, 2)
            cv2.line(picture, (x0, y0), (x1, y1), UNASSIGNED, 2, cv2.LINE_AA)
            cv2.line(picture, (x0, y1), (x1, y0), UNASSIGNED, 2, cv2.LINE_AA)
    middles = (corners[:, :2] + corners[:, 2:]) // 2
    places = np.round(frame.centres * zoom).astype(int)
    for place, level, row in zip(places.tolist(), frame.levels, frame.objects, strict=True):
        colour = LEVEL_COLOURS[level % len(LEVEL_COLOURS)]
        cv2.line(picture, place, middles[row].tolist(), colour, 1, cv2.LINE_AA)
        cv2.circle(picture, place, 4 + int(level), DARK.background, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, place, 3 + int(level), colour, cv2.FILLED, cv2.LINE_AA)
    return picture


def assignment_table(
    areas: np.ndarray, cells: np.ndarray, strides: Sequence[int], thresholds: tuple[float, float]
) -> str:
    """How many objects of each size have cells, on which level, and how many have none.

    Args:
        areas: (N,) of the objects, px² of the network's input.
        cells: (N, L) how many cells each has.
        strides: px of each level.
        thresholds: areas below which objects are small, and below which medium.
    """
    sizes, sides = np.digitize(areas, thresholds), np.sqrt(thresholds)
    names = [f"small, below {sides[0]:g} px", f"medium, below {sides[1]:g} px", "large", "all"]
    rows = []
    for number, name in enumerate(names):
        held = cells[sizes == number] if number < len(SIZES) else cells
        each = held.sum(axis=1)
        mean = f"{each.mean():.1f}" if len(each) else "-"
        rows.append([name, len(held), *(held > 0).sum(axis=0), mean, (each == 0).sum()])
    levels = [f"stride {stride}" for stride in strides]
    headers = ["", "objects", *levels, "cells each", "no cell"]
    aligned = ("left", *["right"] * (len(headers) - 1))
    return tabulate(rows, headers, "plain", disable_numparse=True, colalign=aligned)


def write_assignment(
    model: nn.Module,
    batches: Iterable[Sequence[Mapping[str, Any]]],
    out: Path,
    frames: int = 4,
    theme: Theme = DARK,
) -> str:
    """Write a sheet of labelled frames with the cells of their objects.

    Args:
        model, batches: see :func:`assigned_frames`.
        out: a .png file.
        frames: at most so many, in the sheet and in the table.
        theme: colours.

    Returns:
        The table of these frames; see :func:`assignment_table`.

    Raises:
        ValueError: no YOLOX head, another suffix, or no labelled frame.
    """
    check_sheet(out)
    head = yolox_head(model)
    strides = list(head.strides.values())
    tiles, areas, cells = [], [], []
    for frame in islice(assigned_frames(model, batches, theme), frames):
        zoom = zoom_for(max(frame.image.shape[:2]), _TILE)
        tiles.append(draw_assignment(frame, theme, zoom))
        areas.append(np.prod(frame.boxes[:, 2:] - frame.boxes[:, :2], axis=1))
        cells.append(frame.cells(len(strides)))
    if not tiles:
        raise ValueError("The training samples hold no labelled frame; there is nothing to show.")
    legend = [(f"stride {s}", LEVEL_COLOURS[k % len(LEVEL_COLOURS)]) for k, s in enumerate(strides)]
    legend.append(("no cell", UNASSIGNED))
    sheet = contact_sheet(tiles, theme=theme)
    title = "dots: cells that SimOTA chose"
    write_image(out, with_title(sheet, title, theme.truth, theme.background, legend))
    found = np.concatenate(areas), np.concatenate(cells)
    return assignment_table(*found, strides, head.size_thresholds)
