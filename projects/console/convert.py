"""Convert a data set in YOLO's or Pascal VOC's layout: %(prog)s SOURCE datasets/NAME"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str], prog: str) -> str:
    """Convert; what was found."""
    options = parse(arguments, prog)
    from smalldet.data.convert.writing import convert

    return convert(options.source, options.target, options.link)


def parse(arguments: Sequence[str], prog: str) -> Namespace:
    """The options of the command."""
    parser = ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("source", type=Path, help="the folder with data.yaml, or with Annotations")
    parser.add_argument("target", type=Path, help="a new folder; it gets train, valid and test")
    parser.add_argument(
        "--link",
        action="store_true",
        help="give the images a second name (hard links) instead of copying them",
    )
    return parser.parse_args(arguments)
