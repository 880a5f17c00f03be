"""A JSON file for each class of machine: of every figure the latest and the range seen.

::

    {"instructions": "AVX2", "threads": 2, "torch": "2.11.0",
     "gemm_gflops": SPAN, "copy_gb_s": SPAN,
     "parts": {"scan": {"rows": {"scan, compiled": {"ratio": SPAN, "required": 50.0, "goal": 0.0,
                                                    "reference_ms": 130.0, "candidate_ms": 1.1}},
                        "notes": []}}}

A SPAN has ``latest``, ``low`` and ``high``. Of a row only ``low`` and ``high`` of its ratio must be
there; a ``note`` on the whole stands until it is measured again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from benchmarks.speed.machine import Machine
from runfolder.files import read_json, write_json

FOLDER = Path(__file__).resolve().parents[1] / "results"
RATES = ("gemm_gflops", "copy_gb_s")
LESS = 0.9  # of the slowest machine's ratio may be required

Kept = dict[str, Any]


def keep(run: Path, folder: Path = FOLDER) -> None:
    """Merge what ``bench.py`` measured on one machine into the file of its class, there or not.

    Rows that a measured part no longer has are dropped.

    Args:
        run: JSON: ``machine``, and by part ``rows`` and ``notes``.

    Raises:
        ValueError: a file is damaged.
    """
    measured = read_json(run) or {}
    machine = Machine(**measured["machine"])
    path = folder / f"{machine.name}.json"
    kept = read_json(path) or {"parts": {}}
    facts = {name: value for name, value in machine._asdict().items() if name not in RATES}
    rates = {name: span(getattr(machine, name), kept.get(name)) for name in RATES}
    parts = dict(kept["parts"])
    for name, part in measured["parts"].items():
        known = parts.get(name, {}).get("rows", {})
        rows = [Row(**numbers) for numbers in part["rows"]]
        found = {row.name: figures(row, known.get(row.name, {})) for row in rows}
        parts[name] = {"rows": found, "notes": part["notes"]}
    write_json(path, {**facts, **rates, "parts": parts})


def figures(row: Row, known: Mapping[str, Any]) -> Kept:
    numbers = {name: short(getattr(row, name)) for name in ("reference_ms", "candidate_ms")}
    wanted = {"required": short(row.required), "goal": short(row.goal)}
    return {"ratio": span(row.ratio, known.get("ratio")), **wanted, **numbers}


def span(value: float, known: Mapping[str, float] | None) -> dict[str, float]:
    """The latest, and the range with what was seen before."""
    value = short(value)
    low, high = (known["low"], known["high"]) if known else (value, value)
    return {"latest": value, "low": min(low, value), "high": max(high, value)}


def short(value: float) -> float:
    return float(f"{value:.4g}")


def load(folder: Path = FOLDER) -> dict[str, Kept]:
    """All classes by name, GPUs last.

    Raises:
        ValueError: a file is damaged.
    """
    found = {path.stem: read_json(path) or {} for path in sorted(folder.glob("*.json"))}
    return dict(sorted(found.items(), key=lambda item: is_gpu(item[1])))


def is_gpu(kept: Kept) -> bool:
    return kept["instructions"].startswith("CUDA")


def rows_of(classes: Mapping[str, Kept]) -> dict[str, dict[str, dict[str, Kept]]]:
    """By part and row: the figures of each class."""
    found: dict[str, dict[str, dict[str, Kept]]] = {}
    for name, kept in classes.items():
        for part, content in kept["parts"].items():
            rows = found.setdefault(part, {})
            for row, numbers in content["rows"].items():
                rows.setdefault(row, {})[name] = numbers
    return found


def too_strict(classes: Mapping[str, Kept]) -> list[str]:
    """Rows that require more than the slowest machine seen reached, less 10 %, as sentences."""
    found = []
    for rows in rows_of(classes).values():
        for row, by_class in rows.items():
            slowest = min(numbers["ratio"]["low"] for numbers in by_class.values())
            required = max(numbers.get("required", 0.0) for numbers in by_class.values())
            if required > slowest * LESS:
                found.append(
                    f"{row}: {required:g} is required; the slowest machine reached {slowest:g}, "
                    f"which supports {slowest * LESS:.3g}."
                )
    return found
