#!/usr/bin/env python3
"""The error of a nan_dump.pth once more; ``console.reproduce_nan`` does it (--help)."""

from __future__ import annotations

import sys
from pathlib import Path

# It must run, and say what is missing, also where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console.main import script

if __name__ == "__main__":
    script("reproduce-nan", __file__)
