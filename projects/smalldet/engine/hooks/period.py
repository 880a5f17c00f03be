"""When a hook that works every so many steps is due."""

from __future__ import annotations


def is_due(step: int, period: int, max_iter: int) -> bool:
    """Whether what comes every ``period`` steps (0: never) and at the end is due after ``step``."""
    return step + 1 == max_iter or (period > 0 and (step + 1) % period == 0)
