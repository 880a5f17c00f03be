"""The page on speed, written whole."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.speed.kept import Kept, is_gpu, rows_of
from runfolder.files import write_text

PAGE = "speed.md"
HERE = Path(__file__).resolve().parents[1]
CPU, GPU = HERE / "parts", HERE / "gpu"
TEXT = """# Speed

Nothing to switch on: fast kernels are compiled on first use where there is a C++ compiler, checked
against the plain ones, and left out where there is none. `make bench` compares the project with
plain restatements of the published code, or with the library that is named, with the same weights
and in turn, on your machine (up to 20 minutes; `make bench PARTS="scan rvt"` for some parts). It
prints first what decides: instruction sets, threads, and the rates of float32 matrix products and
of copies that outgrow the caches.

Absolute times are those of a machine; ratios hold better, and still depend on it: what rests on
dense products alone shrinks where memory or clock bound these. So a ratio is *required* if the
slowest machine seen reached it, less 10 %; a *goal* is what the project wants everywhere. `make
bench` ends with status 1 where a required ratio is missed.

## Machines

Classes of machines, as measured. GB/s are bytes copied; each is read once and written once.

{machines}

## Ratios

How many times as fast, or as small where the name says MB, as what it is compared with: the range
over all runs on all machines, and on each class, with the latest time (or MB) of the project behind
it. What a part compares is said above its rows.

{cpu}

## What bounds the rows below their goal

Counted at the rates of `avx2-2threads`, 177 billion operations a second in products (GFLOP/s):

- **RVT, a time step**: T, S and B are 8.2, 17.4 and 31.3 GFLOP of products as published, which
  is 46, 98 and 177 ms. The project takes 64 to 67, 112 to 118 and 181 to 188 ms (Winograd's
  algorithm and skipped zeros save some); the published model 95 to 121, 168 to 189 and 264 to
  289, as the machine has it.
- **RVT, a training step**: 208 GFLOP of products, 1.2 of the 1.9 to 2.05 s, are the same in
  both; what lies between them is read and written 1.25 times less than as published.
- **ViM-Tiny against ViT-Tiny**: ViT-Tiny is 41 GFLOP of products, 232 ms. ViM-Tiny is 20 GFLOP,
  113 ms, and 472 million steps of the scan's state, each an exponential and three products, 145
  ms; it would have to do these in half of the time.
- **Preparation**: zstd takes 250 ms to decompress 20 million events and 190 to compress their
  histograms, the rest 140, each on one core; both cores together do 1.7 times the work of one,
  so about 340 ms are the least.

## On a GPU

`make bench-gpu` measures scans, inference, and training steps by precision with their peak memory;
`make test-gpu` (`pytest -m gpu`) runs the tests that need a GPU.

{gpu}

{estimated}

## How this page is made

`python -m benchmarks.bench` measures all parts; `python -m benchmarks.bench --write docs` then
keeps what was found in `benchmarks/results/`, a JSON file for each class of machine with the latest
figure and the range seen, and writes this page from them. After a change of code that makes old
ranges wrong, remove the file of the class, measure again, and keep that. How cost grows with
length, resolution, events and detections is on a [page of its own](growth.md).
"""
NO_GPU = "**Not yet run on a GPU**, what stands here is estimated."
ESTIMATES = ("memory",)  # parts that say on a CPU what a GPU would need


def write_page(folder: Path, classes: Mapping[str, Kept]) -> None:
    """Write ``speed.md``."""
    write_text(folder / PAGE, page(classes))


def page(classes: Mapping[str, Kept]) -> str:
    """The text, from the kept results by class."""
    cpus = {name: kept for name, kept in classes.items() if not is_gpu(kept)}
    gpus = {name: kept for name, kept in classes.items() if is_gpu(kept)}
    found = {folder.name: sections(group, folder) for folder, group in ((CPU, cpus), (GPU, gpus))}
    estimated = [found[CPU.name].pop(part) for part in ESTIMATES if part in found[CPU.name]]
    return TEXT.format(
        machines=table(("class", "torch", "GFLOP/s", "GB/s", ""), map(machine, classes.items())),
        cpu="\n\n".join(found[CPU.name].values()),
        gpu="\n\n".join(found[GPU.name].values()) or NO_GPU,
        estimated="\n\n".join(estimated),
    )


def table(headings: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """Markdown; all columns but the first stand right."""
    widths = ("---", *["---:"] * (len(headings) - 1))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, widths, *rows))


def machine(item: tuple[str, Kept]) -> tuple[str, ...]:
    name, kept = item
    rates = (extent(kept.get(rate)) for rate in ("gemm_gflops", "copy_gb_s"))
    return f"`{name}`", kept.get("torch", "-"), *rates, kept.get("note", "")


def sections(classes: Mapping[str, Kept], folder: Path) -> dict[str, str]:
    """By part: what it compares, a table, its notes."""
    headings = ("", "all", "required", "goal", *(f"`{name}`" for name in classes))
    found = {}
    for part, rows in sorted(rows_of(classes).items()):
        (path,) = folder.glob(f"**/{part}.py")
        text = path.read_text(encoding="utf-8")
        about = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0]
        lines = (cells(row, by_class, classes) for row, by_class in rows.items())
        said = "\n".join(
            f"- `{name}`: {sentence}"
            for name, kept in classes.items()
            for sentence in kept["parts"].get(part, {}).get("notes", [])
        )
        blocks = (f"**{part}**: {about}", table(headings, lines) if rows else "", said)
        found[part] = "\n\n".join(filter(None, blocks))
    return found


def cells(row: str, by_class: Mapping[str, Kept], classes: Mapping[str, Kept]) -> tuple[str, ...]:
    spans = [numbers["ratio"] for numbers in by_class.values()]
    everywhere = {"low": min(s["low"] for s in spans), "high": max(s["high"] for s in spans)}
    wanted = (
        " / ".join(sorted({short(one[key]) for one in by_class.values() if one.get(key)}))
        for key in ("required", "goal")
    )
    return row, extent(everywhere), *wanted, *(cell(row, by_class.get(name)) for name in classes)


def cell(row: str, numbers: Kept | None) -> str:
    """``1.6 - 1.8 (33 ms)``."""
    if numbers is None:
        return "-"
    took = numbers.get("candidate_ms")
    unit = "MB" if row.endswith("MB") else "ms"
    return extent(numbers["ratio"]) + (f" ({short(took)} {unit})" if took else "")


def extent(span: Mapping[str, float] | None) -> str:
    if span is None:
        return "-"
    low, high = short(span["low"]), short(span["high"])
    return low if low == high else f"{low} - {high}"


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
