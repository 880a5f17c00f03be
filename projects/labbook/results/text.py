"""Numbers and statuses as people read them."""

from __future__ import annotations

from typing import Any

import pandas as pd

STATUS_TEXT = {
    "new": "not started",
    "running": "running",
    "interrupted": "INTERRUPTED",
    "failed": "FAILED",
    "finished": "finished",
    "unreadable": "unreadable",
}


def number(value: float | None, form: str, spread: float | None = None) -> str:
    """As ``61.2`` or, with a spread over seeds, ``61.2 ± 0.4``; ``-`` where there is none."""
    if pd.isna(value):
        return "-"
    return form.format(value) + ("" if pd.isna(spread) else f" ± {form.format(spread)}")


def duration(seconds: float | None) -> str:
    """As ``40 s``, ``12 min`` or ``1 h 23 min``."""
    if pd.isna(seconds):
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
    if pd.isna(found.estimate):
        return "-"
    text = f"{found.estimate:+.1f}"
    if not pd.isna(found.spread):
        text += f" ± {found.spread:.1f}"
    if not pd.isna(found.low):
        text += f" [{found.low:+.1f}, {found.high:+.1f}]"
    return text + ("*" if found.is_marked else "")
