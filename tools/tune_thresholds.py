#!/usr/bin/env python3
"""Size thresholds from the training boxes of prepared recordings, for each type of weights.

tools/tune_thresholds.py PREPARED [--write configs/etram/3scale_sizeaware_datadriven_100k.py]

With them the largest third of the boxes weighs 1; exponential weights have small_threshold alone.
Prints and draws the sizes that it decided from; areas are in px² of the network's input.
"""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import Counter
from pathlib import Path

# It must run, and say what is missing, also where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console.status import exit_status


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path, help="what tools/prepare_events.py wrote")
    parser.add_argument("--write", type=Path, metavar="CONFIG", help="put the thresholds in there")
    types = ("exponential", "step", "linear")
    parser.add_argument("--weight-type", default=types[0], choices=types, help="of that config")
    parser.add_argument("--weight", type=float, default=2.0, help="its size_aware_weight")
    parser.add_argument("--class-map", default="etram_cls8", help="that it was prepared with")
    parser.add_argument("--downsample", default="nearest", choices=("nearest", "sum", "none"))
    parser.add_argument("--representation", default="histogram", choices=("histogram", "voxel"))
    parser.add_argument("--source", help="where the recordings are from, in a few words")
    plot = Path(__file__).parents[1] / "work_dirs" / "size_thresholds.png"
    parser.add_argument("--plot", type=Path, metavar="PNG", default=plot, help="%(default)s")
    return parser.parse_args()


def tune(options: Namespace) -> None:
    """Print, draw and, if asked to, write."""
    from boxmetrics.slices import size_table, size_thresholds, table_text
    from eventcam.dataset import EventRecordings
    from eventcam.prepare.size_report import box_sizes, draw_sizes, origin, write_literals
    from smalldet.losses.size_aware import proposals_text, proposed_thresholds

    how = options.class_map, options.downsample
    dataset = EventRecordings(str(options.prepared), *how, representation=options.representation)
    recordings = dataset.recordings("train")
    sizes, names = box_sizes(recordings), dataset.class_map.classes
    left_out = sum((recording.left_out for recording in recordings), Counter())
    thresholds = size_thresholds(sizes.areas)
    height, width = sizes.resolution
    where = options.source or origin(options.prepared)
    print(
        f"{len(sizes.areas):,} boxes at {sizes.frames:,} labelled frames of {sizes.recordings} "
        f"training recordings ({where}), in px of {width}x{height}; left out: "
        f"{', '.join(f'{n:,} {why}' for why, n in left_out.items()) or 'none'}\n"
    )
    print(table_text(size_table(sizes.areas, sizes.classes, names, thresholds), thresholds))
    draw_sizes(sizes, names, thresholds._asdict(), f"Training boxes: {where}", options.plot)
    proposals = proposals_text(sizes.areas, thresholds, options.weight)
    print(f"\nFor size_aware_weight {options.weight:g}:\n{proposals}\nplot: {options.plot}")
    if options.write:
        found = proposed_thresholds(thresholds, options.weight, options.weight_type)
        which = "terciles" if len(found) == 2 else "upper tercile"
        literals: dict[str, float | str] = {f"model.head.{k}": v for k, v in found.items()}
        literals["_source"] = f"{which} of {len(sizes.areas):,} boxes: {where}"
        changed = write_literals(options.write, literals)
        print(f"{options.write}: {'written' if changed else 'has them already'}")


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    tune(parse_arguments())


if __name__ == "__main__":
    sys.exit(exit_status(main))
