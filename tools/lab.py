#!/usr/bin/env python3
"""The lab book: plan, guard, run, record and compare experiments (--help lists the commands)."""

from __future__ import annotations

import sys
from pathlib import Path

from labbook.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], root=Path(__file__).resolve().parent.parent))
