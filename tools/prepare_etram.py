#!/usr/bin/env python3
"""Prepare raw event recordings for training; ``console.prepare_events`` does it (--help)."""

from __future__ import annotations

from console.main import script

if __name__ == "__main__":
    script("prepare-events", __file__)
