"""The streaming loader against its fastest consumer: RVT-T without gradients."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.measure import Call, Candidate, Row, compare
from benchmarks.parts.data.events import SETTINGS, write_street
from benchmarks.published.pair import rvt_pair
from eventcam.io.rvt_folder import RvtFolder
from eventcam.prepare.folder import prepare_all
from eventcam.sampling.schedule import SamplingSettings
from eventcam.sampling.train_loader import build_sequence_train_loader

STREAMS, STEPS = 2, 5
SPEED = 4.0  # times that of the consumer


def rows() -> Iterator[Row]:
    """One optimisation step: 2 streams of 5 time steps at half resolution, with augmentation."""
    with tempfile.TemporaryDirectory() as folder:
        raw, prepared = Path(folder) / "raw", Path(folder) / "prepared"
        for stream in range(STREAMS):  # a recording for each, so that none has to be cut
            write_street(raw / "train", f"street{stream}")
        prepare_all(raw, prepared, SETTINGS, workers=0, progress=False)
        consumer, loader = calls(prepared)
        candidates = {"streaming loader, RVT tiny eats": Candidate(loader, SPEED)}
        yield from compare(consumer, candidates, rounds=9)


def calls(root: Path) -> tuple[Call, Call]:
    """The detector on one batch, and the loader (in this process) of the next one."""
    recordings = RvtFolder(root, "etram_cls8").recordings("train")
    loader = build_sequence_train_loader(recordings, SamplingSettings(), STEPS, STREAMS, STREAMS)
    batches = iter(loader)
    detector, _ = rvt_pair("tiny")
    batch = [
        {key: value for key, value in sample.items() if key not in ("boxes", "classes")}
        for sample in next(batches)[0]
    ]

    @torch.no_grad()
    def consumer() -> None:
        detector(batch)

    return consumer, lambda: next(batches)
