"""Check a COCO-format data set: filter its three splits, register them, print what was found.

python datasets/register_custom_coco.py [--data-root datasets/coco] [--classes head ...]
"""

from __future__ import annotations

import argparse
import logging
import sys

from smalldet.data import CocoSplits, DataError, default_root, register, report_table


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data-root",
        default=str(default_root()),
        help="folder with train, valid and test (default: %(default)s)",
    )
    parser.add_argument("--classes", nargs="+", default=["head"], help="wanted class names")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    dataset = CocoSplits(options.data_root, tuple(options.classes))
    try:
        names = register(dataset)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report_table({split: dataset.report(split) for split in names}))
    print("registered as " + ", ".join(names.values()))
    print(
        f"for the configs: dataset.root={options.data_root} "
        f"train.images={dataset.report('train').images}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
