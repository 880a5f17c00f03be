#!/usr/bin/env python3
"""Kills, damaged inputs and long runs: python -m benchmarks.bench_soak [PARTS...] [--full]

Two parts at a time. Prints a line for each and keeps what was found in work_dirs/soak.json, to
which further parts are added; with --write, the page soak.md of that folder follows from it. Ends
with status 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from benchmarks.soak.page import PAGE, totals, write_page
from benchmarks.soak.parts import FULL, NAMES, USUAL, Found, carry_out
from runfolder.files import read_json, write_json

RESULTS = Path(__file__).resolve().parents[1] / "work_dirs" / "soak.json"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(NAMES)}; default all")
    parser.add_argument("--full", action="store_true", help="several times as much, for hours")
    parser.add_argument("--seed", type=int, default=0, help="the first; other seeds, other inputs")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help=f"gets {PAGE}: docs")
    for kind, usual in USUAL._asdict().items():
        parser.add_argument(f"--{kind}", type=int, help=f"default {usual:,}")
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - set(NAMES)):
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(NAMES)}.")
    return options


def main() -> int:
    options = parse_arguments()
    given = {kind: getattr(options, kind) for kind in USUAL._fields}
    amounts = FULL if options.full else USUAL
    amounts = amounts._replace(**{kind: n for kind, n in given.items() if n is not None})
    known = {name: Found(**facts) for name, facts in (read_json(RESULTS) or {}).items()}
    with ThreadPoolExecutor(2) as pool:
        names = options.parts or NAMES
        tasks = [pool.submit(carry_out, name, amounts, options.seed) for name in names]
        found = []
        for task in as_completed(tasks):
            one = task.result()
            found, known[one.part] = [*found, one], one
            write_json(RESULTS, {name: asdict(each) for name, each in known.items()})
            print("\n  ".join([one.line(), *one.uncaught, *one.silent]), flush=True)
    print(totals(found))
    if options.write:
        write_page(options.write, known)
    return int(not all(one.is_sound for one in found))


if __name__ == "__main__":
    sys.exit(main())
