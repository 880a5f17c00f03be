"""Check a COCO-format data set: filter its three splits, look at box sizes, advise what to set.

python datasets/register_custom_coco.py [--data-root datasets/coco] [--classes head ...]
    [--merge head=with_mask,without_mask ...] [--image-size 640] [--stride 4] [--anchor 32]
"""

from __future__ import annotations

import argparse
import logging
import sys

from smalldet.data import CocoSplits, DataError, default_root, register, report_table
from smalldet.data.check.report import data_check


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data-root",
        default=str(default_root()),
        help="folder with train, valid and test (default: %(default)s)",
    )
    parser.add_argument("--classes", nargs="+", default=["head"], help="wanted class names")
    parser.add_argument(
        "--merge",
        nargs="+",
        default=[],
        type=merged,
        metavar="WANTED=A,B",
        help="classes of the annotation file that become one",
    )
    parser.add_argument("--image-size", type=int, default=640, help="side of the network input, px")
    parser.add_argument("--stride", type=int, default=4, help="of the finest level, px")
    parser.add_argument("--anchor", type=float, default=32, help="side of the smallest one, px")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        classes, merge = tuple(options.classes), dict(options.merge)
        dataset = CocoSplits(options.data_root, classes, merge=merge)
        names = register(dataset)
        print(report_table({split: dataset.report(split) for split in names}))
        print("registered as " + ", ".join(names.values()) + "\n")
        print(data_check(dataset, options.image_size, options.stride, options.anchor))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def merged(text: str) -> tuple[str, list[str]]:
    """``head=face,helmet`` as a class and the source classes that become it."""
    name, equals, classes = text.partition("=")
    if not (name and equals and classes):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form WANTED=CLASS,CLASS")
    return name, classes.split(",")


if __name__ == "__main__":
    sys.exit(main())
