#!/usr/bin/env python3
"""Speed as ratios, each beside the one required: make bench [PARTS="scan vim"], make bench-gpu

Absolute times change with the machine and with whatever else it does; the ratios hold. A part is
a module below benchmarks/parts (benchmarks/gpu for a GPU) with a function rows(), and maybe
notes(rows), sentences that follow from them. Ends with status 1 if a ratio is missed.

Look at what was found; then --write docs keeps it, in benchmarks/results by class of machine, and
makes docs/speed.md from all that is kept there. Without parts, --write measures nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

# Before torch is imported: on a machine that does nothing else, threads had better not sleep.
os.environ.pop("OMP_WAIT_POLICY", None)

import torch

from benchmarks.measure import Row
from benchmarks.speed.kept import keep, load, too_strict
from benchmarks.speed.machine import Machine, measured
from benchmarks.speed.page import PAGE, write_page
from runfolder.files import read_json, write_json

HERE = Path(__file__).resolve().parent
MEASURED = HERE.parent / "work_dirs" / "bench"  # a file for each class of machine
PARTS, GPU_PARTS = (
    {path.stem: path for path in sorted((HERE / folder).rglob("[!_]*.py"))}
    for folder in ("parts", "gpu")
)
DEVICES = {"cpu": PARTS, "cuda": GPU_PARTS}
HEADINGS = ("", "reference ms", "candidate ms", "ratio", "required", "goal", "noise")


def line(row: Row) -> str:
    """One line of the table."""
    numbers = f"{row.reference_ms:12.2f}  {row.candidate_ms:12.2f}  {row.ratio:7.2f}"
    goal = f"{row.goal:.2f}" if row.goal else "-"
    mark = "" if row.passed else "  MISSED"
    return f"{row.name:40}  {numbers}  {row.required:8.2f}  {goal:>6}  {row.noise:5.0%}{mark}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help=f"parts of cuda: {', '.join(GPU_PARTS)}"
    )
    parser.add_argument("--write", type=Path, metavar="FOLDER", help=f"gets {PAGE}: docs")
    options = parser.parse_args()
    known = DEVICES[options.device]
    if unknown := sorted(set(options.parts) - set(known)):
        parser.error(f"no part is called {', '.join(unknown)}; there are {', '.join(known)}.")
    if not options.parts and not options.write:
        options.parts = list(known)
    if options.parts and options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU (tools/doctor.py says why); make bench measures the CPU.")
    return options


def module_of(path: Path) -> ModuleType:
    """The module of a part."""
    return import_module(".".join(["benchmarks", *path.relative_to(HERE).with_suffix("").parts]))


def measure(names: Iterable[str], device: str) -> bool:
    """Print and note the rows of these parts; whether all reached what is required."""
    machine = measured(device)
    print(f"{machine}; load before {os.getloadavg()[0]:.1f}")
    print(f"{HEADINGS[0]:40}  " + "  ".join(HEADINGS[1:]))
    passed = True
    for name in names:
        part = module_of(DEVICES[device][name])
        found = []
        for row in part.rows():
            found.append(row)
            print(line(row), flush=True)
        notes = list(part.notes(found)) if hasattr(part, "notes") else []
        print("".join(f"  {sentence}\n" for sentence in notes), end="", flush=True)
        note(machine, name, found, notes)
        passed &= all(row.passed for row in found)
    return passed


def note(machine: Machine, part: str, rows: list[Row], notes: list[str]) -> None:
    """Put a part into the file of this machine's class, beside those measured before."""
    path = MEASURED / f"{machine.name}.json"
    parts = (read_json(path) or {"parts": {}})["parts"]
    found = {"rows": [row._asdict() for row in rows], "notes": notes}
    write_json(path, {"machine": machine._asdict(), "parts": {**parts, part: found}})


def main() -> int:
    options = parse_arguments()
    passed = measure(options.parts, options.device) if options.parts else True
    if options.write:
        for path in MEASURED.glob("*.json"):
            keep(path)
        classes = load()
        write_page(options.write, classes)
        print("".join(f"{sentence}\n" for sentence in too_strict(classes)), end="")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
