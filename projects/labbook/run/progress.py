"""How far a run is, read from its ``metrics.json`` while it grows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AP50 = "bbox/AP50"


@dataclass
class Progress:
    """The latest metrics of one run; :meth:`refresh` reads what is new."""

    folder: Path
    step: int | None = None
    """Last step that was written, counted from 1."""
    loss: float | None = None
    ap50: float | None = None
    """Best so far on valid, in percent."""
    seconds_per_step: float | None = None
    _place: int = 0
    _file: int | None = None

    def refresh(self) -> None:
        """Take in the whole lines that were added since the last call."""
        path = self.folder / "metrics.json"
        try:
            with path.open("rb") as stream:
                file = stream.seek(0, 2), path.stat().st_ino
                if file[1] != self._file or file[0] < self._place:
                    self._place = 0  # a resumed run has written it anew
                self._file = file[1]
                stream.seek(self._place)
                content = stream.read()
        except OSError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._place += len(whole)
        for line in whole.splitlines():
            self._take(line)

    def seconds_left(self, max_iter: int | None) -> float | None:
        """Time of the steps to come, without that of evaluations."""
        if max_iter is None or self.step is None or self.seconds_per_step is None:
            return None
        return self.seconds_per_step * (max_iter - self.step)

    def _take(self, line: bytes) -> None:
        try:
            row: dict[str, Any] = json.loads(line)
        except ValueError:
            return
        if "iteration" in row:
            self.step = row["iteration"] + 1
        self.loss = row.get("total_loss", self.loss)
        self.seconds_per_step = row.get("time", self.seconds_per_step)
        if row.get(AP50) is not None:
            self.ap50 = max(row[AP50], -1.0 if self.ap50 is None else self.ap50)
