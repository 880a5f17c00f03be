"""Configs that change another one, written into a temporary project folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

CHILD = """
import torch
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("{file}.py"))

{lines}
experiment.update(name="{name}", parent={parent!r}, factors={factors!r})
"""


def write_child(
    root: Path,
    name: str,
    *lines: str,
    factors: Sequence[str] = (),
    file: str = "baseline",
    parent: str | None = "ofat_baseline",
) -> Path:
    """``configs/ofat/<name>.py``: ``<file>.py`` with lines that change it."""
    path = root / "configs" / "ofat" / f"{name}.py"
    text = CHILD.format(
        file=file, lines="\n".join(lines), name=f"ofat_{name}", parent=parent, factors=[*factors]
    )
    path.write_text(text, encoding="utf-8")
    return path
