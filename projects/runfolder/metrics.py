"""What a run has measured so far, from the files that training writes."""

from __future__ import annotations

import json
import logging
import statistics
from pathlib import Path
from typing import Any

from runfolder.files import read_json
from runfolder.names import FINGERPRINT, METRICS, RESULTS, TOTAL_LOSS

logger = logging.getLogger(__name__)

_LARGE = 2**53
"""A larger whole number is none that was measured."""


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Lines of ``metrics.json`` in the order of steps; a line cut by a kill is left out.

    Their values are numbers, also ones that are not finite, or null, and ``iteration`` a whole one.
    Other lines are left out, and said.
    """
    path = folder / METRICS
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [_row_in(line) for line in lines]
    if None in rows[:-1]:  # the last may be about to be written
        lost = rows[:-1].count(None)
        logger.warning("%s: %d lines are no metrics and are left out.", path, lost)
    return [row for row in rows if row is not None]


def _row_in(line: str) -> dict[str, Any] | None:
    """The metrics in a line; None if it is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(row.get("iteration", 0), int):
        return None
    return row if all(map(_is_number, row.values())) else None


def _is_number(value: Any) -> bool:
    is_whole = isinstance(value, int) and abs(value) < _LARGE
    return is_whole or isinstance(value, float | None)


def measured(folder: Path, is_finished: bool) -> dict[str, Any]:
    """Numbers for the record of a run that ends now.

    Args:
        folder: the run folder.
        is_finished: whether ``results.json`` is that of this end; else ``metrics.json`` tells how
            far the run has come.

    Returns:
        ``iterations``, ``iterations_per_second`` (of training alone), ``final_loss`` (total),
        ``peak_memory_mb``, ``data_fingerprint`` and ``data_findings``; None where the files do not
        say.
    """
    if is_finished:
        results = read_json(folder / RESULTS) or {}
        seconds = results.get("seconds_per_iteration")
        names = ("iterations", "final_loss", "peak_memory_mb", "data_fingerprint", "data_findings")
        found = {name: results.get(name) for name in names}
    else:
        rows = [row for row in read_metrics(folder) if TOTAL_LOSS in row]
        last = rows[-1] if rows else {}
        times = [row["time"] for row in rows if row.get("time")]
        seconds = statistics.median(times) if times else None
        found = {
            "iterations": last["iteration"] + 1 if "iteration" in last else None,
            "final_loss": last.get(TOTAL_LOSS),
            "peak_memory_mb": last.get("memory_mb"),
            "data_fingerprint": None,
            "data_findings": None,
        }
    if (folder / FINGERPRINT).is_file():
        found["data_fingerprint"] = (folder / FINGERPRINT).read_text("utf-8").strip() or None
    return {**found, "iterations_per_second": 1 / seconds if seconds else None}
