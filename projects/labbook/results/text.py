"""Scores, numbers and statuses as people read them."""

from __future__ import annotations

import math
from typing import Any

from labbook.config.studies import Study
from runfolder.names import AP, AP50

METRICS = {
    "mAP@0.5": AP50,
    "mAP@0.5:0.95": AP,
    "APs": "bbox/APs",
    "APm": "bbox/APm",
    "APl": "bbox/APl",
}
"""Column title and Detectron2's key; AP in percent. A study may add its own."""
STATUS_TEXT = {
    "new": "not started",
    "running": "running",
    "interrupted": "INTERRUPTED",
    "failed": "FAILED",
    "finished": "finished",
    "unreadable": "unreadable",
}


def metrics_of(study: Study) -> dict[str, str]:
    """Column title and key of the scores that a study's tables show."""
    return METRICS | dict(study.extra_metrics)


def title_of(study: Study, key: str) -> str:
    """What the tables call a score."""
    return next((title for title, other in metrics_of(study).items() if other == key), key)


def number(value: float | None, form: str, spread: float | None = None) -> str:
    """As ``61.2`` or, with a spread over seeds, ``61.2 ± 0.4``; ``-`` where there is none."""
    if value is None or math.isnan(value):
        return "-"
    has_spread = spread is not None and not math.isnan(spread)
    return form.format(value) + (f" ± {form.format(spread)}" if has_spread else "")


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
