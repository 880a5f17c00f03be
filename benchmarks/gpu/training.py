"""Training steps of both lines, AdamW included: time by precision, peak memory by micro-batch.

OFAT: the baseline at 640 px. eTraM: RVT-B at 384x640, streams of 5 time steps, 3 of them labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from benchmarks.measure import Call, Candidate, Row, compare
from benchmarks.ofat import BASELINE, SIZE, build, picture
from benchmarks.parts.models.memory import CARDS_GB, fitting
from benchmarks.parts.models.ofat_step import Repeated, optimizer_of, step_of
from benchmarks.parts.models.rvt_training import STEPS, samples_of
from benchmarks.published.pair import counts
from benchmarks.saved import memory_row, saved_mb
from benchmarks.speed.machine import finished
from smalldet.engine.faults.memory import release
from smalldet.engine.trainer import Trainer


class Line(NamedTuple):
    """A config, a batch of so many samples for it, and the override that recomputes activations."""

    config: str
    batch: Callable[[int], list[dict[str, Any]]]
    checkpoints: str


LINES = {
    "OFAT": Line(
        BASELINE,
        lambda images: [picture(SIZE, seed) for seed in range(images)],
        "model.backbone.checkpoint=true",
    ),
    "eTraM": Line(
        "configs/etram/baseline_3scale_100k.py",
        lambda streams: samples_of(counts(STEPS, streams)),
        "model.backbone.bottom_up.checkpoint=true",
    ),
}
PRECISIONS = {"cuda": ("bf16", "fp16"), "cpu": ("bf16",)}  # beside fp32
TIMED = 2  # samples
MICRO_BATCHES = (1, 2, 4, 8)
ROUNDS = 5


def rows(device: str = "cuda") -> Iterator[Row]:
    """Times against fp32, then MB in fp32 and bf16 (in the columns of ms), up to what fits."""
    for name, line in LINES.items():
        exact = step(line, device, "fp32")
        rounded = {
            f"{name}, a step of {TIMED}, {precision}": Candidate(step(line, device, precision), 0.0)
            for precision in PRECISIONS[device]
        }
        yield from compare(exact, rounded, ROUNDS)
        for label, overrides in variants(name, line).items():
            both = (peaks(line, device, precision, *overrides) for precision in ("fp32", "bf16"))
            for size, exact_mb, rounded_mb in zip(MICRO_BATCHES, *both, strict=False):
                yield memory_row(f"{label}, micro-batch {size}, MB", exact_mb, rounded_mb, 0.0)


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """What fits a card, by the last two micro-batches that were measured."""
    for name, line in LINES.items():
        for label in variants(name, line):
            found = [row for row in rows if row.name.startswith(f"{label}, micro-batch ")]
            if len(found) < 2:
                continue
            for index, precision in ((1, "fp32"), (2, "bf16")):
                yield f"{label}, {precision}: {fits([row[index] for row in found])}"


def variants(name: str, line: Line) -> dict[str, tuple[str, ...]]:
    """Overrides by label."""
    return {name: (), f"{name} with checkpoints": (line.checkpoints,)}


def fits(mb: Sequence[float]) -> str:
    """The largest micro-batches on cards, from the peaks of ``MICRO_BATCHES``, in MB."""
    (a, b), (low, high) = MICRO_BATCHES[len(mb) - 2 : len(mb)], mb[-2:]
    each = (high - low) / (b - a)
    first = low - (a - 1) * each
    sizes = [f"{fitting((first, first + each), 0.0, gb)} on {gb} GB" for gb in CARDS_GB]
    return f"{each:,.0f} MB for each sample more; largest micro-batch {', '.join(sizes)}."


def step(line: Line, device: str, precision: str) -> Call:
    return finished(step_of(trainer_of(line, device, precision, TIMED)), device)


def trainer_of(line: Line, device: str, precision: str, size: int, *overrides: str) -> Trainer:
    """The trainer of runs on one batch of ``size`` samples."""
    model = build(line.config, f"train.device={device}", *overrides).model
    dtype = None if precision == "fp32" else precision
    batches = Repeated([line.batch(size)])
    return Trainer(model, batches, optimizer_of(model), amp_dtype=dtype, dump_folder=None)


def peaks(line: Line, device: str, precision: str, *overrides: str) -> list[float]:
    """MB of each of ``MICRO_BATCHES``, until memory is full."""
    found = []
    trainer = trainer_of(line, device, precision, 1, *overrides)
    for size in MICRO_BATCHES:
        trainer.loader.batch = [line.batch(size)]
        try:
            found.append(peak_mb(step_of(trainer), device))
        except ValueError as error:  # the trainer's sentence about it
            if not isinstance(error.__cause__, torch.OutOfMemoryError):
                raise
            break
    del trainer
    release()
    return found


def peak_mb(call: Call, device: str) -> float:
    """Memory that torch holds at most in a step; on a CPU, what autograd keeps."""
    call()  # from here on there are the optimizer's averages
    if device != "cuda":
        return saved_mb(call, ())
    release()
    torch.cuda.reset_peak_memory_stats()
    call()
    return torch.cuda.max_memory_reserved() / 1e6
