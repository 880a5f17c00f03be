"""Samples between two runs of the command, in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.growth.fit import Line, fitted
from runfolder.files import read_json, write_json

Results = dict[str, dict[str, Line]]  # by name of the curve, then of the line


def load(path: Path, machine: Mapping[str, Any]) -> Results:
    """Curves measured earlier on the same ``machine``; those of another one are left out.

    Raises:
        ValueError: the file is no record.
    """
    stored = read_json(path) or {}
    if stored.get("machine") != machine:
        return {}
    return {
        name: {label: Line(kept["sizes"], kept["samples_ms"]) for label, kept in lines.items()}
        for name, lines in stored["curves"].items()
    }


def save(path: Path, machine: Mapping[str, Any], results: Results) -> None:
    """Write samples and fits, with what they were measured on.

    Raises:
        ValueError: a line that cannot be fitted.
    """
    curves = {
        name: {label: {**line._asdict(), **fitted(line)._asdict()} for label, line in one.items()}
        for name, one in results.items()
    }
    write_json(path, {"machine": machine, "curves": curves})
