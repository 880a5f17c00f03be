"""RVT-T, S and B: from the counts of one time step to detections, at 384x640, on a CPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.measure import Call, Candidate, Row, compare
from benchmarks.published.pair import CONFIDENCE, OVERLAP, SETTLED, counts, rvt_pair

SPEED, GOAL = 1.26, 1.5  # times the published
STEP_MS = 50.0  # of real time, which is a goal: a ratio to it says more of the machine than of us
VARIANTS = ("tiny", "small", "base")


def rows() -> Iterator[Row]:
    """Against the published model with the same weights, then against real time."""
    for variant in VARIANTS:
        reference, candidate = step_calls(variant)
        row = f"RVT {variant}, a time step"
        for found in compare(reference, {row: Candidate(candidate, SPEED, GOAL)}, rounds=15):
            yield found
            ratio = STEP_MS / found.candidate_ms
            name = f"RVT {variant}, 20 steps a second"
            yield Row(name, STEP_MS, found.candidate_ms, ratio, 0.0, found.noise, goal=1.0)


def step_calls(variant: str, device: str = "cpu") -> tuple[Call, Call]:
    """Both go on through the same recording, one step a call."""
    detector, published = rvt_pair(variant, device)
    frame = counts(1)[0].to(device)
    states = {"published": [None] * 4, "steps": 0}

    @torch.no_grad()
    def reference() -> torch.Tensor:
        features, states["published"] = published.backbone(frame, states["published"])
        found = published.detect(published.fuse(features[1:]), CONFIDENCE, OVERLAP)[0]
        return found[:, 4] * found[:, 5]

    @torch.no_grad()
    def candidate() -> torch.Tensor:
        sample = {"events": frame, "stream": 0, "is_first": states["steps"] == 0}
        states["steps"] += 1
        return detector([sample])[0]["instances"].scores

    for call in (reference, candidate):
        for _ in range(SETTLED):
            call()
    exact = {"rtol": 1e-3, "atol": 1e-6}  # a GPU rounds what convolutions take to 10 bits
    close = exact if device == "cpu" else {"rtol": 0.05, "atol": 1e-3}
    torch.testing.assert_close(reference(), candidate(), **close)
    return reference, candidate
