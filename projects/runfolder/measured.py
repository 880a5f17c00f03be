"""What a run has measured so far, from the files that training writes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from runfolder.files import read_json

FINGERPRINT = "data_fingerprint.txt"
"""Training writes the checksum of its data here before the first step."""


def measured(folder: Path, is_finished: bool) -> dict[str, Any]:
    """Numbers for the record of a run that ends now.

    Args:
        folder: the run folder.
        is_finished: whether ``results.json`` is that of this end; else ``metrics.json`` tells how
            far the run has come.

    Returns:
        ``iterations``, ``iterations_per_second`` (of training alone), ``final_loss`` (total),
        ``peak_memory_mb`` and ``data_fingerprint``; None where the files do not say.
    """
    found = _of_results(folder) if is_finished else _of_metrics(folder)
    path = folder / FINGERPRINT
    if path.is_file():
        found["data_fingerprint"] = path.read_text(encoding="utf-8").strip() or None
    return found


def _of_results(folder: Path) -> dict[str, Any]:
    results = read_json(folder / "results.json") or {}
    names = ("iterations", "final_loss", "peak_memory_mb", "data_fingerprint")
    seconds = results.get("seconds_per_iteration")
    return {name: results.get(name) for name in names} | {
        "iterations_per_second": 1 / seconds if seconds else None
    }


def _of_metrics(folder: Path) -> dict[str, Any]:
    rows = [row for row in read_metrics(folder) if "total_loss" in row]
    last = rows[-1] if rows else {}
    seconds = [row["time"] for row in rows if row.get("time")]
    return {
        "iterations": last["iteration"] + 1 if "iteration" in last else None,
        "iterations_per_second": 1 / statistics.median(seconds) if seconds else None,
        "final_loss": last.get("total_loss"),
        "peak_memory_mb": last.get("memory_mb"),
        "data_fingerprint": None,
    }


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Lines of ``metrics.json`` in the order of steps; a line cut by a kill is left out."""
    path = folder / "metrics.json"
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return [row for row in rows if isinstance(row, dict)]
