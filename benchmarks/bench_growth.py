#!/usr/bin/env python3
"""How cost grows, with exponents: python -m benchmarks.bench_growth [CURVES...] [--write docs]

Prints a table and keeps the samples in work_dirs/growth.json. With --write, the page growth.md of
that folder and its pictures follow, from curves measured now or earlier on this machine.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Before torch is imported: on a machine that does nothing else, threads had better not sleep.
os.environ.pop("OMP_WAIT_POLICY", None)

import torch

from benchmarks.growth.curves import CURVES, measured
from benchmarks.growth.fit import load, save
from benchmarks.growth.page import PAGE, row, write_page
from runfolder.provenance import devices

RESULTS = Path(__file__).resolve().parents[1] / "work_dirs" / "growth.json"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("curves", nargs="*", help=f"of {', '.join(CURVES)}; default all")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="with a growth.md: docs")
    options = parser.parse_args()
    if unknown := sorted(set(options.curves) - set(CURVES)):
        parser.error(f"no curve is called {', '.join(unknown)}; there are {', '.join(CURVES)}.")
    if options.write and not (options.write / PAGE).is_file():
        parser.error(
            f"{options.write} has no {PAGE} to fill in; the one of the project is in docs."
        )
    return options


def main() -> int:
    options = parse_arguments()
    cpu, threads = devices()["cpu"], torch.get_num_threads()
    machine = {"cpu": cpu, "threads": threads, "torch": torch.__version__}
    print(f"{cpu}, {threads} threads, load before {os.getloadavg()[0]:.1f}")
    try:
        results = load(RESULTS, machine)
        for name in options.curves or CURVES:
            results[name] = measured(CURVES[name])
            save(RESULTS, machine, results)
            for label, line in results[name].items():
                print("  ".join(row(name, CURVES[name], label, line)), flush=True)
        if options.write:
            write_page(options.write, machine, results)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
