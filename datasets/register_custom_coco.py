#!/usr/bin/env python3
"""Check a COCO-format data set of three splits; ``console.data`` does it (--help)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

# It must run, and say what is missing, also where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console import data
from console.status import exit_status


def main(arguments: Sequence[str]) -> int:
    return exit_status(data.main, arguments, "datasets/register_custom_coco.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
