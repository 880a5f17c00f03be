"""The memory that preparation takes does not depend on the length of the recording."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest
from event_toys import label_times, make_labels

from eventcam.io import Events, write_bbox, write_h5_recording
from eventcam.prepare.recording import Preparation, prepare_recording

WIDTH, HEIGHT = 320, 240
RATE = 2_000_000  # events a second
EVENT_BYTES = 13
SECONDS = 2, 14
ALLOWED = 80e6  # bytes; what the allocator keeps differs from run to run


def write_long(folder, seconds):
    """A recording that is quick to write and to read, but has events everywhere."""
    count = RATE // 10
    x, y = (np.arange(count) * 7 % size for size in (WIDTH, HEIGHT))
    polarity = np.zeros(count, np.uint8)

    def block(start_us):
        times = start_us + np.arange(count) * 100_000 // count
        return Events(x.astype(np.uint16), y.astype(np.uint16), polarity, times)

    blocks = (block(start) for start in range(0, seconds * 1_000_000, 100_000))
    write_h5_recording(folder / "a_td.h5", blocks, WIDTH, HEIGHT)
    times = label_times(30, seconds * 1_000_000)
    write_bbox(folder / "a_bbox.npy", make_labels(times))


def peak_bytes():
    """Largest resident size of this process so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def peaks(folders):
    """Peak of this process after preparing each recording, and how many steps were written."""
    found = []
    for folder in folders:
        files = folder / "a_td.h5", folder / "a_bbox.npy"
        record = prepare_recording(*files, folder / "out", Preparation(downsample="none"), True)
        found.append((peak_bytes(), record["counts"]["representations"]))
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is asked from Linux")
def test_seven_times_the_length_takes_no_more_memory(tmp_path):
    folders = [tmp_path / str(seconds) for seconds in SECONDS]
    for folder, seconds in zip(folders, SECONDS, strict=True):
        write_long(folder, seconds)
    # A process of its own, whose peak nothing else has raised.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (short, few), (long, many) = pool.apply(peaks, (folders,))
    assert many > 6 * few
    more_events = (SECONDS[1] - SECONDS[0]) * RATE * EVENT_BYTES
    more_steps = (many - few) * 20 * HEIGHT * WIDTH
    assert min(more_events, more_steps) > 3 * ALLOWED  # what it would be if either were all held
    assert long - short < ALLOWED
