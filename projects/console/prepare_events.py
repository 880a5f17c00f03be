"""Prepare raw event recordings for training: representations, labels and times, resumable.

The class map names the data set: etram_cls8, etram_raw8 or etram_3groups, gen1_2classes or
gen4_3classes (Prophesee's Gen1 and 1 Mpx), or classes of your own.

RAW holds the folders train, val and test with <name>_td.h5 (or .dat, .raw) and <name>_bbox.npy, or
<name>_bbox.csv with the columns t_us,x,y,w,h,class[,track], or <name>_bbox.json, COCO whose images
have a timestamp_us; OUT gets the folders that RVT's own preparation would write, and manifest.json.
Run again to resume.
"""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str], prog: str) -> int:
    """Prepare; 1 if there is nothing that is prepared."""
    options = parse(arguments, prog)
    from eventcam.prepare.folder import prepare_all
    from eventcam.prepare.recording import Preparation
    from eventcam.published import as_published

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    downsample = options.downsample or as_published(options.class_map).downsample
    settings = Preparation(
        options.class_map,
        downsample,
        options.published,
        representation=options.representation,
    )
    summary = prepare_all(options.raw, options.out, settings, max(0, options.workers))
    print(summary)
    return 0 if summary.prepared or summary.reused else 1


def parse(arguments: Sequence[str], prog: str) -> Namespace:
    """The options of the command."""
    parser = ArgumentParser(
        prog=prog, description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder with the raw recordings")
    parser.add_argument("out", type=Path, help="folder to write; the same one to resume")
    parser.add_argument(
        "--class-map",
        default="etram_cls8",
        help="its name, or own classes as person,bike=bicycle+scooter (bicycles and scooters "
        "become bikes); the config's dataset.class_map says the same (default: %(default)s)",
    )
    parser.add_argument(
        "--downsample",
        choices=("nearest", "sum", "none"),
        help="how to get half resolution: drop three of four px (nearest: as published, the "
        "default) or add them up; none keeps the sensor's resolution (the default of Gen1)",
    )
    parser.add_argument(
        "--representation",
        default="histogram",
        choices=("histogram", "voxel"),
        help="counts by polarity (as published, default), or a voxel grid: signed, each event "
        "shared by the two time bins beside it; the config's dataset.representation says the same",
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="repeat the published windows (events on a border count twice), choice of frames "
        "(loses labels after gaps) and filter of all splits (no side below 5 px, of Gen1 10 px and "
        "no diagonal below 30, where otherwise all boxes are kept and training alone is filtered); "
        "for comparison with published numbers",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    return parser.parse_args(arguments)
