"""Scores, numbers and statuses as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from labbook.config.studies import Study
from runfolder.names import AP, AP50, SPLITS

METRICS = {
    "mAP@0.5": AP50,
    "mAP@0.5:0.95": AP,
    "APs": "bbox/APs",
    "APm": "bbox/APm",
    "APl": "bbox/APl",
}
"""Column title and Detectron2's key; AP in percent. A study may add its own."""
TILED = {
    "tiled mAP@0.5": "tiled/AP50",
    "tiled mAP@0.5:0.95": "tiled/AP",
    "tiled APs": "tiled/APs",
}
"""The same of runs that were scored with tiles besides (``evaluation.*.tile``)."""
STATUS_TEXT = {
    "new": "not started",
    "running": "running",
    "interrupted": "INTERRUPTED",
    "failed": "FAILED",
    "finished": "finished",
    "unreadable": "unreadable",
}


def metrics_of(study: Study) -> dict[str, str]:
    """Column title and key of the scores that a study's tables always have a place for."""
    return METRICS | dict(study.extra_metrics)


def tiled_metrics(names: Iterable[str]) -> dict[str, str]:
    """Column title and key of the scores with tiles that are among ``names``, the numbers of a
    frame, as ``test tiled/AP50``."""
    known = set(names)
    return {
        title: key
        for title, key in TILED.items()
        if any(f"{split} {key}" in known for split in SPLITS)
    }


def slice_of(key: str) -> tuple[str, str]:
    """The slice that a score is of, and the key of the same score of the whole split.

    ``bbox-night/AP`` gives ``night`` and ``bbox/AP``; a score of the whole split "" and itself.
    """
    found = re.fullmatch(r"bbox-([^/]+)/(.+)", key)
    return (found[1], f"bbox/{found[2]}") if found else ("", key)


def sliced_metrics(study: Study, names: Iterable[str]) -> dict[str, str]:
    """Column title and key of the scores of slices, as of day and night, that are among ``names``,
    the numbers of a frame, as ``test bbox-night/AP50``; of each slice the main ones."""
    shown = [AP50, AP, *dict(study.extra_metrics).values()]
    keys = dict.fromkeys(name.partition(" ")[2] for name in names)
    return {
        title_of(study, key): key
        for key in sorted(key for key in keys if slice_of(key)[0])
        if slice_of(key)[1] in shown
    }


def scores_of(study: Study, names: Iterable[str]) -> dict[str, str]:
    """Column title and key of all scores that the tables of a study show.

    Args:
        study: the study.
        names: the numbers of a frame of its runs, as ``test tiled/AP50``.
    """
    names = list(names)
    return metrics_of(study) | tiled_metrics(names) | sliced_metrics(study, names)


def title_of(study: Study, key: str) -> str:
    """What the tables call a score."""
    known = metrics_of(study) | TILED
    part, whole = slice_of(key)
    title = next((title for title, other in known.items() if other == whole), whole)
    return f"{part} {title}".strip()


def number(value: float | None, form: str, spread: float | None = None) -> str:
    """As ``61.2`` or, with a spread over seeds, ``61.2 ± 0.4``; ``-`` where there is none."""
    if value is None or math.isnan(value):
        return "-"
    has_spread = spread is not None and not math.isnan(spread)
    return form.format(value) + (f" ± {form.format(spread)}" if has_spread else "")


def pair(row: Any, name: str) -> str:
    """A score of both splits, as ``52.1 / 49.8``.

    Args:
        row: numbers by name and, behind their names, their spread.
        name: with ``{}`` for the split.
    """
    names = [name.format(split) for split in SPLITS]
    cells = [number(row.get(n), "{:.1f}", row.get(f"{n} spread")) for n in names]
    return " / ".join(cells) if set(cells) != {"-"} else "-"


def duration(seconds: float | None) -> str:
    """As ``40 s``, ``12 min`` or ``1 h 23 min``."""
    if seconds is None or math.isnan(seconds):
        return "-"
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def difference_text(found: Any) -> str:
    """As ``+1.2 ± 0.3 [+0.1, +2.3]*``: estimate, spread over seeds, interval, mark.

    Args:
        found: a row of :func:`labbook.results.differences.differences_frame`.
    """
    if math.isnan(found.estimate):
        return "-"
    text = f"{found.estimate:+.1f}"
    if not math.isnan(found.spread):
        text += f" ± {found.spread:.1f}"
    if not math.isnan(found.low):
        text += f" [{found.low:+.1f}, {found.high:+.1f}]"
    return text + ("*" if found.is_marked else "")
