"""Clocks of recordings, which start again when their bits are used up."""

from __future__ import annotations

import ctypes

import numpy as np


class Clock(ctypes.Structure):
    """Continues a clock: a jump back by more than half its range is a restart.

    A jump forward by more than half is the way back over one (events slightly out of order around
    a restart), or a garbage time, which thereby becomes negative and is dropped later. A new one is
    ``Clock(-1)``; compiled code shares it.

    Attributes:
        last: time that was read last, in [0, ``turn``); -1 before the first.
        turns: restarts less ways back, so far.
        restarts: the most that ``turns`` was.
    """

    last: int
    turns: int
    restarts: int
    _fields_ = [(name, ctypes.c_int64) for name in ("last", "turns", "restarts")]

    def unwrap(self, raw: np.ndarray, turn: int) -> np.ndarray:
        """Times without restarts.

        Args:
            raw: (N,) int64 in [0, ``turn``), the next ones of the file.
            turn: time after which the clock starts again.
        """
        if len(raw) == 0:
            return raw
        steps = np.diff(raw, prepend=raw[:1] if self.last < 0 else self.last)
        self.last = int(raw[-1])
        if not np.any(np.abs(steps) > turn // 2):
            return raw + self.turns * turn if self.turns else raw
        turns = self.turns + np.cumsum((steps < -turn // 2).astype(np.int64))
        turns -= np.cumsum((steps > turn // 2).astype(np.int64))
        self.turns = int(turns[-1])
        self.restarts = max(self.restarts, int(turns.max()))
        return raw + turns * turn
