"""What a run writes to its console file."""

from __future__ import annotations

import codecs
from pathlib import Path


class ConsoleReader:
    """Reads what is new in a console file, from byte ``start`` on."""

    def __init__(self, path: Path, start: int) -> None:
        self._path, self._place = path, start
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def new_text(self) -> str:
        """What was written since the last call; a character may be cut between two calls."""
        with self._path.open("rb") as text:
            text.seek(self._place)
            content = text.read()
        self._place += len(content)
        return self._decoder.decode(content)


def tail(path: Path, start: int, lines: int) -> str:
    """The last lines that were written to ``path`` from byte ``start`` on."""
    with path.open("rb") as text:
        text.seek(start)
        return "\n".join(text.read().decode(errors="replace").splitlines()[-lines:])
