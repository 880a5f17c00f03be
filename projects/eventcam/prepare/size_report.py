"""Sizes of the boxes of a data set: collect them, draw them, write limits into a config.

Where to cut small from medium is decided elsewhere (``boxmetrics.slices``); this is what a person
looks at before believing it, and how the result gets into a config file.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from eventcam.errors import EventDataError

BINS = 60  # of the histogram; equally wide on a logarithmic scale


class Labelled(Protocol):
    """A recording with boxes at labelled frames; see ``eventcam.io.rvt_recording.RvtRecording``."""

    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def num_frames(self) -> int: ...
    def boxes(self, frame: int) -> tuple[np.ndarray, np.ndarray]: ...


class BoxSizes(NamedTuple):
    """The boxes of a split, in px of the representations: those of the network's input.

    Attributes:
        areas: (G,) float64, px².
        classes: (G,) int64.
        recordings: how many they are from.
        frames: labelled frames in them.
        resolution: (height, width) of the representations.
    """

    areas: np.ndarray
    classes: np.ndarray
    recordings: int
    frames: int
    resolution: tuple[int, int]


def box_sizes(recordings: Sequence[Labelled]) -> BoxSizes:
    """Area and class of every box at a labelled frame.

    Raises:
        EventDataError: there is no recording, or they differ in resolution.
    """
    resolutions = {recording.shape[1:] for recording in recordings}
    if len(resolutions) != 1:
        found = ", ".join(f"{w}x{h}" for h, w in sorted(resolutions)) or "no recordings"
        raise EventDataError(
            f"The split has {found}; recordings of one resolution are expected, because an area in "
            "px² means something at one resolution only. Prepare them with tools/prepare_events.py."
        )
    frames = [
        recording.boxes(frame) for recording in recordings for frame in range(recording.num_frames)
    ]
    boxes = np.concatenate([np.zeros((0, 4)), *(boxes for boxes, _ in frames)]).astype(np.float64)
    classes = np.concatenate([np.zeros(0, np.int64), *(classes for _, classes in frames)])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return BoxSizes(areas, classes, len(recordings), len(frames), resolutions.pop())


def origin(prepared: Path) -> str:
    """Where the boxes come from, in a few words; says so if the recordings were generated.

    Recordings that this project generated lie in ``<prepared>_raw``, with a marker.
    """
    generated = Path(f"{prepared}_raw", "generated.json").exists()
    return "generated recordings, not of eTraM" if generated else Path(prepared).name


def draw_sizes(
    sizes: BoxSizes, names: Sequence[str], limits: Mapping[str, float], title: str, path: Path
) -> None:
    """Write a PNG: boxes by side (square root of the area), stacked by class, with the limits.

    Args:
        sizes: at least one box.
        names: of the classes.
        limits: areas in px², by what to call them.
        title: above the plot.
        path: the file; its folder is made.
    """
    # Here, since only the plot needs it.
    from matplotlib.figure import Figure

    sides = np.sqrt(sizes.areas)
    present = [k for k in range(len(names)) if (sizes.classes == k).any()]
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    edges = np.geomspace(sides.min() * 0.99, sides.max() * 1.01, BINS + 1)
    columns = [sides[sizes.classes == k] for k in present]
    axes.hist(columns, edges, stacked=True, label=[names[k] for k in present])
    for (name, area), style in zip(limits.items(), ("--", "-.", ":"), strict=False):
        label = f"{name}: below {area:,.0f} px²"
        axes.axvline(np.sqrt(area), color="black", linestyle=style, label=label)
    axes.set_xscale("log")
    axes.set_xticks([4, 8, 16, 32, 64, 128, 256], minor=False)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.set(xlabel="side of the box (square root of its area), px", ylabel="boxes", title=title)
    axes.set_xlim(edges[0], edges[-1])
    figure.legend(loc="outside right upper")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def write_literals(config: Path, values: Mapping[str, float | str]) -> bool:
    """Replace the values of top-level assignments in a Python file, and nothing else.

    Args:
        config: the file; ``name = <literal>`` is there, on one line, for each name.
        values: new values by name, dotted as in the file (``model.head.small_threshold``).

    Returns:
        Whether the file changed.

    Raises:
        EventDataError: it cannot be parsed, or a name is not assigned one literal, once.
    """
    old = config.read_bytes()
    lines = old.splitlines(keepends=True)
    for name, node in _assigned_literals(config, old, values).items():
        row, start, end = node.lineno - 1, node.col_offset, node.end_col_offset
        line, value = lines[row], values[name]
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
        lines[row] = line[:start] + text.encode() + line[end:]
    new = b"".join(lines)
    if new != old:
        config.write_bytes(new)
    return new != old


def _assigned_literals(
    config: Path, source: bytes, names: Iterable[str]
) -> dict[str, ast.Constant]:
    """The literal that each name is assigned, with its place in the file."""
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise EventDataError(f"{config}, line {error.lineno}: {error.msg}. Correct it.") from error
    found: dict[str, list[ast.expr]] = {name: [] for name in names}
    for statement in body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                found.get(ast.unparse(target), []).append(statement.value)
    literals = {}
    for name, nodes in found.items():
        node = nodes[0] if len(nodes) == 1 else None
        if not isinstance(node, ast.Constant) or node.lineno != node.end_lineno:
            raise EventDataError(
                f"{config} was left as it is: it must hold exactly one line '{name} = <number or "
                f"text>' at its top level, as configs/etram/3scale_sizeaware_datadriven_100k.py."
            )
        literals[name] = node
    return literals
