#!/usr/bin/env python3
"""Speed as ratios, each beside the one required: make bench [PARTS="scan vim"]

Absolute times change with the machine and with whatever else it does; the ratios hold. A part is
a module of benchmarks/parts with a function rows(), and maybe notes(rows), sentences that follow
from them. Ends with status 1 if a ratio is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module
from pathlib import Path

# Before torch is imported: on a machine that does nothing else, threads had better not sleep.
os.environ.pop("OMP_WAIT_POLICY", None)

import torch

from benchmarks.measure import Row

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "work_dirs" / "bench.json"
PARTS = sorted(p.stem for p in (HERE / "parts").glob("[!_]*.py"))
HEADINGS = ("", "reference ms", "candidate ms", "ratio", "required", "noise")


def line(row: Row) -> str:
    """One line of the table."""
    numbers = f"{row.reference_ms:12.2f}  {row.candidate_ms:12.2f}  {row.ratio:7.1f}"
    mark = "" if row.passed else "  MISSED"
    return f"{row.name:36}  {numbers}  {row.required:8.1f}  {row.noise:5.0%}{mark}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default all")
    names = parser.parse_args().parts or PARTS
    if unknown := sorted(set(names) - set(PARTS)):
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load before {load:.1f}")
    print(f"{HEADINGS[0]:36}  " + "  ".join(HEADINGS[1:]))
    rows: list[Row] = []
    notes: list[str] = []
    for name in names:
        part = import_module(f"benchmarks.parts.{name}")
        found = []
        for row in part.rows():
            found.append(row)
            print(line(row), flush=True)
        said = list(part.notes(found)) if hasattr(part, "notes") else []
        print("".join(f"  {sentence}\n" for sentence in said), end="", flush=True)
        rows += found
        notes += said
    results = {
        **{"torch": torch.__version__, "threads": torch.get_num_threads(), "load": load},
        "rows": [{**row._asdict(), "passed": row.passed} for row in rows],
        "notes": notes,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(not all(row.passed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
