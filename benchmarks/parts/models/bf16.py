"""Inference in bfloat16 against float32, where the CPU has instructions for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.measure import Call, Candidate, Row, compare
from benchmarks.ofat import ROOT
from benchmarks.parts.models.vim import vim
from benchmarks.published.pair import counts, rvt_pair
from labbook.config.load import load_config
from smalldet.engine.build import register_data
from smalldet.engine.run import score_splits
from smalldet.engine.settings import read_settings
from smalldet.engine.weights import best_checkpoint
from smalldet.layers.precision import InBf16, bf16_instructions
from smalldet.predict.loading import find_source, load_model

SPEED, GOAL = 0.0, 1.5  # times float32; no machine that has it was seen yet
DEMO = ("configs/debug/demo/heads.py", "configs/debug/demo/events.py")
METRIC = "bbox/AP50"


def rows() -> Iterator[Row]:
    """ViM-Tiny at 640 px and a time step of RVT-B."""
    if not bf16_instructions():
        return
    exact = vim("auto")
    rounded = {"ViM-Tiny in bf16": Candidate(in_autocast(exact), SPEED, GOAL)}
    yield from compare(exact, rounded, rounds=15)
    exact, candidate = steps("base")
    rounded = {"RVT base in bf16, a time step": Candidate(candidate, SPEED, GOAL)}
    yield from compare(exact, rounded, rounds=15)


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """What it costs of the scores of the demo's runs."""
    if not rows:
        yield "Left out: this CPU has no instructions for bfloat16 (AVX512-BF16, AMX)."
        return
    for config in DEMO:
        run = ROOT / load_config(ROOT / config).train.output_dir
        there = best_checkpoint(run).exists()
        yield difference(run) if there else f"{run.name} is not there: make demo trains it."


def in_autocast(call: Call, device: str = "cpu", dtype: torch.dtype = torch.bfloat16) -> Call:
    def rounded() -> None:
        with torch.autocast(device, dtype):
            call()

    return rounded


def steps(variant: str) -> tuple[Call, Call]:
    """The first time step of a recording, from counts to detections."""
    detector, _ = rvt_pair(variant)
    sample = {"events": counts(1)[0], "stream": 0, "is_first": True}

    def step_of(model: torch.nn.Module) -> Call:
        return torch.no_grad()(lambda: model([sample]))

    return step_of(detector), step_of(InBf16(detector))


def difference(run: Path) -> str:
    """AP50 of a run on valid in both, in percent, as a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = [f"train.output_dir={folder}", "train.eval_precision=bf16"]
        source = find_source(run, overrides=wanted)
        model, settings = load_model(source, "cpu"), read_settings(source.cfg["train"])
        register_data(source.cfg, settings, model, is_trained=False)
        scores = score_splits(source.cfg, settings, model, leaves_files=False)["valid"]
    exact, rounded = scores[METRIC] or 0.0, scores[f"bf16/{METRIC}"] or 0.0
    return f"{run.name}: {METRIC} {exact:.2f} in fp32, {rounded:.2f} in bf16."
