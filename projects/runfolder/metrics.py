"""What a run has measured so far, from the files that training writes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from runfolder.files import read_json
from runfolder.names import FINGERPRINT, METRICS, RESULTS, TOTAL_LOSS


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Lines of ``metrics.json`` in the order of steps; a line cut by a kill is left out."""
    path = folder / METRICS
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return [row for row in rows if isinstance(row, dict)]


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
