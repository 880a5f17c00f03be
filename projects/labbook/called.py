"""What the user calls the lab book, for sentences that say what to do."""

from __future__ import annotations

import sys
from pathlib import Path

SCRIPT, INSTALLED = "tools/lab.py", "smalldet lab"
_HAS_SCRIPT = (Path(__file__).resolve().parents[2] / SCRIPT).is_file()


def lab(words: str) -> str:
    """The command line with these words, as ``tools/lab.py table ofat``.

    It begins with ``smalldet lab`` in a process that was started as ``smalldet``, and where there
    is no checkout.
    """
    is_installed = Path(sys.argv[0]).name == "smalldet" or not _HAS_SCRIPT
    return f"{INSTALLED if is_installed else SCRIPT} {words}"
