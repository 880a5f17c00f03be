#!/usr/bin/env python3
"""Convert a data set in YOLO's or Pascal VOC's layout; ``console.convert`` does it (--help)."""

from __future__ import annotations

from console.main import script

if __name__ == "__main__":
    script("convert", __file__)
