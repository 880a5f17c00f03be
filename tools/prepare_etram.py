#!/usr/bin/env python3
"""Prepare raw event recordings for training: stacked histograms, labels and times, resumable.

RAW holds the folders train, val and test with <name>_td.h5 (or .dat) and <name>_bbox.npy; OUT gets
the folders that RVT's own preparation would write, and manifest.json. Run again to resume.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from console.status import exit_status
from eventcam.class_maps import CLASS_MAPS
from eventcam.errors import EventDataError
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.recording import Preparation


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder with the raw recordings")
    parser.add_argument("out", type=Path, help="folder to write; the same one to resume")
    parser.add_argument(
        "--class-map", default="etram_cls8", choices=sorted(CLASS_MAPS), help="default: etram_cls8"
    )
    parser.add_argument(
        "--downsample",
        default="nearest",
        choices=("nearest", "sum", "none"),
        help="how to get half resolution: drop three of four px (as published, default) or add "
        "them up; none keeps the sensor's resolution",
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="repeat the published windows (events on a border count twice) and choice of frames "
        "(loses labels after gaps); for comparison with published numbers",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    settings = Preparation(options.class_map, options.downsample, options.published)
    try:
        summary = prepare_all(options.raw, options.out, settings, max(0, options.workers))
    except EventDataError as error:
        print(error, file=sys.stderr)
        return 2
    print(summary)
    return 0 if summary.prepared or summary.reused else 1


if __name__ == "__main__":
    sys.exit(exit_status(main))
