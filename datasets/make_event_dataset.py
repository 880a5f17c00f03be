#!/usr/bin/env python3
"""Generate eTraM-like event recordings: the same parameters give the same files.

python datasets/make_event_dataset.py datasets/street [--train 8 --valid 2 --test 2]
    [--seconds 3] [--width 240 --height 180] [--seed 0] [--workers 0]
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
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,  # those of GeneratedRecordings, as they stand above
    )
    parser.add_argument("out", type=Path, help="a new folder; it gets train, val and test")
    parser.add_argument("--train", type=int, help="number of training recordings")
    parser.add_argument("--valid", "--val", dest="val", type=int, help="likewise")
    parser.add_argument("--test", type=int, help="likewise")
    parser.add_argument("--seconds", type=float, help="length of each")
    parser.add_argument("--width", type=int, help="px")
    parser.add_argument("--height", type=int, help="px")
    parser.add_argument("--seed", type=int, help="decides every recording")
    parser.add_argument("--workers", type=int, default=0, help="processes (%(default)s: this one)")
    options = vars(parser.parse_args(arguments))
    from toydata.folder import GeneratedDataError
    from toydata.streets import GeneratedRecordings

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    out, workers = options.pop("out"), options.pop("workers")
    try:
        GeneratedRecordings(**options).ensure(out, max(0, workers))
    except GeneratedDataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{out} is ready")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
