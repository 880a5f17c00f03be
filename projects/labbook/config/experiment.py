"""What an experiment declares about itself in its config file."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labbook.config.studies import Study, study_of_config


@dataclass
class Experiment:
    """The question that one config answers.

    A baseline has no parent and moves no factor. Every other experiment may differ from its
    parent only in the keys that it lists; more than one listed key makes it a bundle. A config
    file that leaves out name, study or hypothesis says them by its place and its docstring.
    """

    name: str
    """Name of its run folder, as ``ofat_lr0.01_bs8_adamw_ep100``."""
    study: str
    """The set of runs that are compared with one another, as ``ofat``."""
    parent: str | None = None
    """Name of the experiment that this one changes."""
    factors: list[str] = field(default_factory=list)
    """Dotted config keys that it moves, as ``optimizer.lr``."""
    level: int | float | str = "baseline"
    """Where it moves them, as ``0.01`` or ``sgd``; shown in tables."""
    hypothesis: str = ""
    """What is expected to happen, in a sentence."""
    targets: dict[str, float] = field(default_factory=dict)
    """What to reach, by name: AP in percent, to be exceeded, as ``{"bbox/AP50": 70.0}``; a name
    that ends in ``loss``, as ``{"final_loss": 3.5}``, is to end up below. AP is judged on valid.
    See :func:`is_met`."""


def told_by_file(path: Path, text_file: Path) -> dict[str, str]:
    """Name, study and hypothesis that a config file has by its place and its docstring.

    Args:
        path: ``configs/STUDY/NAME.py``, which a toy version names without being there.
        text_file: the file whose docstring has a line ``Hypothesis: ...``.
    """
    found = study_of_config(path)
    study = found[0] if found else Study(path.absolute().parent.name, "")
    told = {"name": study.run_name(path.stem), "study": study.name}
    docstring = ast.get_docstring(ast.parse(text_file.read_text(encoding="utf-8"))) or ""
    hypothesis = re.search(r"^Hypothesis: (.+)$", docstring, re.MULTILINE)
    return {**told, "hypothesis": hypothesis[1]} if hypothesis else told


def describe_change(experiment: Mapping[str, Any]) -> str:
    """What an experiment changes, as ``optimizer.lr = 0.01``; more than one key is a bundle."""
    factors, level = experiment.get("factors") or [], experiment.get("level")
    if not factors:
        return "" if level is None else str(level)
    return f"{'bundle: ' if len(factors) > 1 else ''}{', '.join(factors)} = {level}"


def is_met(name: str, value: float | None, target: float) -> bool | None:
    """Whether ``value`` reaches the target called ``name``; None if it is not known.

    A loss must be below its target, anything else above.
    """
    if value is None:
        return None
    return value < target if _is_loss(name) else value > target


def verdict(name: str, value: float | None, target: float) -> str:
    """The target and whether ``value`` reaches it, as ``bbox/AP > 35: missed``."""
    word = {True: "met", False: "missed", None: "unknown"}[is_met(name, value, target)]
    return f"{name} {'<' if _is_loss(name) else '>'} {target:g}: {word}"


def _is_loss(name: str) -> bool:
    return name.endswith("loss")
