"""Histograms and preparation of events, one process, against RVT's published way."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Call, Candidate, Row, compare
from benchmarks.published import events as published
from benchmarks.saved import memory_row
from eventcam.io import BBOX_DTYPE, Events, write_bbox, write_h5_recording
from eventcam.io.hdf5 import open_h5
from eventcam.prepare.recording import Preparation, prepare_recording
from eventcam.representations import StackedHistogram

HEIGHT, WIDTH = 720, 1280
RATE = 10_000_000  # events a second: half a million in a window of 50 ms
SECONDS = 2
HISTOGRAM, PREPARATION, GOAL = 4.0, 3.75, 5.0  # times the published speed; goal: of preparation
MEMORY = 2.0  # times less than the published, of this short recording; that grows with its length
SETTINGS = Preparation(published=True)


def rows() -> Iterator[Row]:
    """First a window at full and at half resolution, then a recording from file to file."""
    events = recorded(0, published.WINDOW_US)
    for name, downsample in (("full resolution", "none"), ("half resolution", "nearest")):
        reference, candidate = histograms(events, downsample)
        same = np.array_equal(reference(), candidate())
        assert same, f"The histograms at {name} differ from the published ones."
        row = f"histogram, {name}"
        yield from compare(reference, {row: Candidate(candidate, HISTOGRAM)}, rounds=9)
    with tempfile.TemporaryDirectory() as folder:
        reference, candidate = preparations(Path(folder))
        row = f"preparation, {RATE * SECONDS / 1e6:.0f} M events"
        yield from compare(reference, {row: Candidate(candidate, PREPARATION, GOAL)}, rounds=3)
        peaks = [peak_mb(call) for call in (reference, candidate)]
        yield memory_row(f"{row}, most in arrays, MB", *peaks, MEMORY)


def histograms(events: Events, downsample: str) -> tuple[Call, Call]:
    columns = [torch.from_numpy(getattr(events, name).astype(np.int64)) for name in "xypt"]
    ours = StackedHistogram(HEIGHT, WIDTH, downsample=downsample)

    def reference() -> np.ndarray:
        full = published.histogram(*columns, HEIGHT, WIDTH)
        if downsample == "none":
            return full.numpy()
        return torch.nn.functional.interpolate(full[None], scale_factor=0.5, mode="nearest-exact")[
            0
        ].numpy()

    return reference, lambda: ours(events)


def preparations(folder: Path) -> tuple[Call, Call]:
    """Both write the same histograms of one recording."""
    numbers = iter(range(1000))
    source, first = folder / "raw", folder / "first"
    write_street(source)
    prepare_street(source, first)
    ends = np.load(next(first.glob("event_representations_v2/*/timestamps_us.npy"))).tolist()

    def reference() -> None:
        published.prepare(source / "street_td.h5", folder / "published.h5", ends)

    def candidate() -> None:
        prepare_street(source, folder / f"prepared{next(numbers)}")

    reference()
    ours = next(first.glob("event_representations_v2/*/*.h5"))
    with open_h5(ours) as a, open_h5(folder / "published.h5") as b:
        assert np.array_equal(a["data"][:], b["data"][:]), "The prepared recordings differ."
    return reference, candidate


def peak_mb(call: Call) -> float:
    """The most that numpy holds at once; tensors of its own that the call makes do not count."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return peak


def write_street(folder: Path, name: str = "street") -> None:
    """Write a recording, labelled at 30 Hz, into ``folder``."""
    last = int(SECONDS * 1e6)
    chunks = (recorded(start, start + 100_000) for start in range(0, last, 100_000))
    write_h5_recording(folder / f"{name}_td.h5", chunks, WIDTH, HEIGHT)
    boxes = np.zeros(30 * SECONDS, BBOX_DTYPE)
    boxes["t"] = np.rint(np.arange(1, len(boxes) + 1) * 1e6 / 30)
    boxes["x"] = boxes["y"] = boxes["w"] = boxes["h"] = 100
    write_bbox(folder / f"{name}_bbox.npy", boxes)


def prepare_street(source: Path, target: Path) -> None:
    labels = source / "street_bbox.npy"
    prepare_recording(source / "street_td.h5", labels, target, SETTINGS, train=True)


def recorded(start_us: int, stop_us: int) -> Events:
    """Events of that stretch of a recording, denser in the middle of the image, in time order."""
    rng = np.random.default_rng(start_us)
    count = int(RATE * (stop_us - start_us) / 1e6)
    x = rng.normal(WIDTH / 2, WIDTH / 6, count).clip(0, WIDTH - 1).astype(np.uint16)
    y = rng.normal(HEIGHT / 2, HEIGHT / 6, count).clip(0, HEIGHT - 1).astype(np.uint16)
    polarity = rng.integers(0, 2, count, dtype=np.uint8)
    return Events(x, y, polarity, np.sort(rng.integers(start_us, stop_us, count)))
