#!/usr/bin/env python3
"""Speed as ratios: reference and candidate in turn, in one process: make bench [PARTS="scan vim"]

Absolute times change with the machine and with whatever else it does; the ratios hold.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from smalldet.backbones.vim import VisionMamba
from smalldet.layers.selective_scan import resolve_backend, selective_scan

Call = Callable[[], object]
RESULTS = Path(__file__).resolve().parents[1] / "work_dirs" / "bench.json"


def scan() -> tuple[Call, Call]:
    """Selective scan as ViM-Tiny runs it at 640 px: 384 channels, 1600 steps, state 16."""
    generator = torch.Generator().manual_seed(0)
    u, delta, z = (torch.randn(1, 384, 1600, generator=generator) for _ in range(3))
    A = -torch.rand(384, 16, generator=generator)
    B, C = (torch.randn(1, 16, 1600, generator=generator) for _ in range(2))

    def call(backend: str) -> Call:
        return lambda: selective_scan(u, delta, A, B, C, z=z, delta_softplus=True, backend=backend)

    return call("reference"), call("auto")


def vim() -> tuple[Call, Call]:
    """The whole ViM-Tiny backbone at 640 px, batch 1, without gradients."""
    image = torch.randn(1, 3, 640, 640, generator=torch.Generator().manual_seed(0))
    models = [VisionMamba(frozen=True, scan_backend=name) for name in ("reference", "auto")]
    return (lambda: models[0](image)), (lambda: models[1](image))


PARTS = {"scan": (scan, 7), "vim": (vim, 3)}


def measure(reference: Call, candidate: Call, rounds: int) -> dict[str, float]:
    """Median seconds of both, measured in turn after one warm-up each, and the median ratio."""
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for times, call in zip(seconds, (reference, candidate), strict=True):
            start = time.perf_counter()
            call()
            if turn:
                times.append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(*seconds, strict=True)]
    a, b = map(statistics.median, seconds)
    return {"reference_s": a, "candidate_s": b, "speedup": statistics.median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default all")
    names = parser.parse_args().parts or list(PARTS)
    results: dict[str, dict[str, float]] = {}
    print(f"{torch.get_num_threads()} threads; scan backend auto = {resolve_backend('auto')}")
    for name in names:
        build, rounds = PARTS[name]
        with torch.no_grad():
            results[name] = measure(*build(), rounds)
        row = ", ".join(f"{key} {value:.4g}" for key, value in results[name].items())
        print(f"{name:6} {row}", flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
