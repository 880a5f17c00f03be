"""The preparation of event recordings as RVT publishes it.

Gehrig and Scaramuzza, Recurrent Vision Transformers for Object Detection with Event Cameras, 2023,
arXiv 2212.05598, with its 8-bit counters and windows that are closed at both ends.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

WINDOW_US = 50_000
BINS, CUTOFF = 10, 10


def histogram(x: Tensor, y: Tensor, p: Tensor, t: Tensor, height: int, width: int) -> Tensor:
    """(20, height, width) uint8 of sorted events (N,) int64; bins go from the first to the last."""
    counts = torch.zeros(2 * BINS * height * width, dtype=torch.uint8)
    if len(t):
        share = (t - t[0]) / max(int(t[-1] - t[0]), 1)
        bins = (share * BINS).floor().clamp(max=BINS - 1).long()
        cells = x + width * y + height * width * (bins + BINS * p)
        counts.put_(cells, torch.ones_like(cells, dtype=torch.uint8), accumulate=True)
    return counts.view(2 * BINS, height, width).clamp(max=CUTOFF)


def prepare(source: Path, target: Path, ends_us: list[int]) -> None:
    """Write the half-resolution histograms of the windows that end at these times.

    All times are held in memory; the other columns are read window by window.
    """
    with h5py.File(source) as given, h5py.File(target, "w") as file:
        events = given["events"]
        height, width = (int(events[name][()]) for name in ("height", "width"))
        times = np.maximum.accumulate(np.asarray(events["t"], dtype=np.int64))
        shape = (2 * BINS, height // 2, width // 2)
        data = file.create_dataset(
            "data",
            shape=(0, *shape),
            maxshape=(None, *shape),
            chunks=(1, *shape),
            dtype=np.uint8,
            **hdf5plugin.Blosc(cname="zstd", clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE),
        )
        for step, end in enumerate(ends_us):
            first = int(np.searchsorted(times, end - WINDOW_US, side="left"))
            stop = int(np.searchsorted(times, end, side="right"))
            columns = [np.asarray(events[name][first:stop], dtype=np.int64) for name in "xyp"]
            x, y, p, t = map(torch.from_numpy, (*columns, times[first:stop]))
            full = histogram(x, y, p.clamp(min=0), t, height, width)
            half = interpolate(full[None], scale_factor=0.5, mode="nearest-exact")
            data.resize(step + 1, axis=0)
            data[step] = half[0].numpy()
