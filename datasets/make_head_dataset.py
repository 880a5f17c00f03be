#!/usr/bin/env python3
"""Paint a head-detection data set in COCO format: the same parameters give the same files.

python datasets/make_head_dataset.py --root datasets/painted [--train 1271 --valid 159 --test 159]
    [--image-size 640] [--seed 0]
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

# It must run, and say what is missing, also where the project is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from console.status import exit_status


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, type=Path, help="a new folder for the data set")
    parser.add_argument("--train", type=int, default=48, help="images (default: %(default)s)")
    parser.add_argument("--valid", type=int, default=16, help="images (default: %(default)s)")
    parser.add_argument("--test", type=int, default=16, help="images (default: %(default)s)")
    parser.add_argument(
        "--image-size", type=int, nargs="+", default=[160], help="side, or height width, px"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args(arguments))
    from toydata.folder import GeneratedDataError
    from toydata.heads import GeneratedHeads

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    root, size = options.pop("root"), options.pop("image_size")
    options["image_size"] = size[0] if len(size) == 1 else size
    try:
        GeneratedHeads(**options).ensure(root)
    except GeneratedDataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{root} is ready; use it with dataset.root={root} train.images={options['train']}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
