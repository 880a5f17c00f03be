#!/usr/bin/env python3
"""Speed as ratios: reference and candidate in turn, in one process.

make bench                      every part
make bench PARTS="scan vim"     some; --help names them
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
from pathlib import Path

import bench
import torch
from bench.harness import Case, as_row, measure

RESULTS = Path(__file__).resolve().parents[1] / "work_dirs" / "bench.json"
PARTS = sorted({m.name for m in pkgutil.iter_modules(bench.__path__)} - {"harness"})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default all")
    names = parser.parse_args().parts or PARTS
    if unknown := sorted(set(names) - set(PARTS)):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    rows = []
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in names:
        print(f"\n{name}")
        for item in importlib.import_module(f"bench.{name}").cases():
            result = measure(item) if isinstance(item, Case) else item
            print(f"  {result}", flush=True)
            rows.append(as_row(name, result))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"\n{RESULTS.relative_to(RESULTS.parents[1])}")


if __name__ == "__main__":
    main()
