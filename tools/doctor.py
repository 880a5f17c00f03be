#!/usr/bin/env python3
"""Check this machine: python tools/doctor.py. Ends with status 1 if a line is red."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# The doctor must also run where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from smalldet.doctor import main

if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    sys.exit(main())
