#!/usr/bin/env python3
"""The lab book: plan, guard, run, record and compare experiments (--help lists the commands)."""

from __future__ import annotations

import sys
from pathlib import Path

# It must run, and say what is missing, also where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console.status import exit_status
from labbook.cli import main

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:], ROOT, "tools/lazyconfig_train_net.py"))
