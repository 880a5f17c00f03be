#!/usr/bin/env python3
"""Check this machine: python tools/doctor.py. Ends with status 1 if a line is red."""

from __future__ import annotations

import sys
from pathlib import Path

# It must run, and say what is missing, also where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console.main import script

if __name__ == "__main__":
    script("doctor", __file__)
