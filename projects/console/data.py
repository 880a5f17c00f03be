"""Check a COCO-format data set: filter its three splits, look at box sizes, advise what to set.
Of a folder of event recordings, raw or prepared: box sizes, recordings that two splits share.

%(prog)s [options]                   the check
%(prog)s convert SOURCE TARGET       a data set in YOLO's or Pascal VOC's layout becomes one of ours
%(prog)s prepare-events RAW OUT      event recordings become training data
"""

from __future__ import annotations

import logging
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawTextHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from console import convert, event_data, prepare_events

PICTURES = Path("work_dirs/box_sizes")
OTHERS = {"convert": convert.main, "prepare-events": prepare_events.main}


def main(arguments: Sequence[str], prog: str) -> str | int:
    """Check the data set: what it holds, what that means, what to set; or do another command."""
    if arguments and arguments[0] in OTHERS:
        return OTHERS[arguments[0]](arguments[1:], f"{prog} {arguments[0]}")
    options = parse(arguments, prog)
    if options.data_root and event_data.is_event_folder(Path(options.data_root)):
        return event_data.check(Path(options.data_root), options, PICTURES)
    from smalldet.data import CocoSplits, default_root, register, report_table
    from smalldet.data.check.report import data_check

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    root = options.data_root or str(default_root())
    dataset = CocoSplits(root, tuple(options.classes), merge=dict(options.merge))
    names = register(dataset)
    picture = PICTURES / f"{dataset.name}.png"
    lines = [
        report_table({split: dataset.report(split) for split in names}),
        "registered as " + ", ".join(names.values()) + "\n",
        data_check(
            dataset,
            options.image_size,
            options.stride,
            options.anchor,
            options.keep_aspect,
            picture,
        ),
    ]
    return "\n".join(lines)


def parse(arguments: Sequence[str], prog: str) -> Namespace:
    """The options of the command."""
    parser = ArgumentParser(prog=prog, description=__doc__, formatter_class=RawTextHelpFormatter)
    add = parser.add_argument
    where = "folder with train, valid and test (default: coco in DETECTRON2_DATASETS or datasets)"
    add("--data-root", help=where)
    add("--classes", nargs="+", default=["head"], help="wanted class names")
    merging = "classes of the annotation file that become one"
    add("--merge", nargs="+", default=[], type=merged, metavar="WANTED=A,B", help=merging)
    add("--image-size", type=int, default=640, help="side of the network input, px")
    add("--keep-aspect", action="store_true", help="images are not stretched to it")
    add("--stride", type=int, default=4, help="of the finest level, px")
    add("--anchor", type=float, default=32, help="side of the smallest one, px")
    of_events = "of event recordings: as prepare-events takes it (that of the folder)"
    add("--class-map", default="", help=of_events)
    add("--downsample", choices=("nearest", "sum", "none"), help=of_events)
    return parser.parse_args(arguments)


def merged(text: str) -> tuple[str, list[str]]:
    """``head=face,helmet`` as a class and the source classes that become it."""
    name, equals, classes = text.partition("=")
    if not (name and equals and classes):
        raise ArgumentTypeError(f"{text!r} is not of the form WANTED=CLASS,CLASS")
    return name, classes.split(",")
