#!/usr/bin/env python3
"""The lab book's command: python tools/lab.py run|table|list STUDY (see --help)."""

from __future__ import annotations

import sys
from pathlib import Path

from labbook.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], root=Path(__file__).resolve().parent.parent))
