"""Small recordings for the tests of eventcam, and the golden files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from eventcam.io import BBOX_DTYPE, Events, write_bbox, write_h5_recording
from eventcam.io import rvt_layout as layout

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "rvt"
WIDTH, HEIGHT = 64, 48


def golden(name: str) -> tuple[Any, dict[str, Any]]:
    """Arrays and description of a golden file."""
    arrays = np.load(GOLDEN / f"{name}.npz")
    return arrays, json.loads(str(arrays["meta_json"]))


def golden_events(arrays: Any, prefix: str) -> Events:
    return Events(*(arrays[f"{prefix}{column}"] for column in "xypt"))


def make_events(count: int, last_us: int = 1_000_000, seed: int = 0) -> Events:
    """Random events on the sensor, sorted by time, the last one at ``last_us``."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, last_us + 1, count))
    times[-1:] = last_us
    x, y = rng.integers(0, WIDTH, count), rng.integers(0, HEIGHT, count)
    polarity = rng.integers(0, 2, count)
    return Events(x.astype(np.uint16), y.astype(np.uint16), polarity.astype(np.uint8), times)


def make_labels(times_us: np.ndarray | list[int], class_id: int = 1) -> np.ndarray:
    """One 20 x 16 px box at each time."""
    labels = np.zeros(len(times_us), BBOX_DTYPE)
    labels["t"], labels["class_id"], labels["class_confidence"] = times_us, class_id, 1
    labels["x"], labels["y"], labels["w"], labels["h"] = 10, 8, 20, 16
    return labels


def label_times(rate: float, last_us: int = 1_000_000) -> np.ndarray:
    """Regular label times, rounded to microseconds."""
    return np.rint(np.arange(1, last_us * rate / 1e6 + 1e-9) * 1e6 / rate).astype(np.int64)


def join(*parts: Events) -> Events:
    return Events.concatenate(parts)


def one_event(x: int, y: int, t: int, p: int = 0) -> Events:
    return Events(*(np.array([v], k) for v, k in ((x, "u2"), (y, "u2"), (p, "u1"), (t, "i8"))))


def same_events(a: Events, b: Events) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in "xypt")


def write_recording(
    split: Path, name: str, events: Events | None = None, labels: np.ndarray | None = None
) -> None:
    """``<name>_td.h5`` and ``<name>_bbox.npy`` of the toy sensor."""
    events = make_events(3000) if events is None else events
    labels = make_labels(label_times(30)) if labels is None else labels
    write_h5_recording(split / f"{name}_td.h5", [events], WIDTH, HEIGHT)
    write_bbox(split / f"{name}_bbox.npy", labels)


def write_prepared(
    folder: Path, downsample: str, histograms: np.ndarray, steps: list[int], box: Any, class_id: int
) -> Path:
    """A prepared recording with one box, x, y, w, h in px of the sensor, at each of ``steps``."""
    sizes = len(histograms), histograms.shape[1:]
    file, data = layout.create_representations(folder, downsample, *sizes)
    with file:
        data[:] = histograms
    ends = 50_000 * np.arange(1, len(histograms) + 1)
    labels = make_labels(ends[steps], class_id)
    labels["x"], labels["y"], labels["w"], labels["h"] = box
    layout.save_labels(folder, labels, labels["t"])
    layout.save_array(folder, layout.WINDOW_ENDS, ends)
    layout.save_array(folder, layout.FRAME_STEPS, np.array(steps))
    return folder


def write_dat(
    path: Path, events: Events, header: str = f"% Height {HEIGHT}\n% Width {WIDTH}\n"
) -> None:
    """Prophesee's format; times are cut to 32 bits."""
    words = np.empty((len(events), 2), "<u4")
    words[:, 0] = events.t & 0xFFFFFFFF
    words[:, 1] = events.x | events.y.astype(np.uint32) << 14 | events.p.astype(np.uint32) << 28
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode() + bytes([12, 8]) + words.tobytes())


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, or with some bytes replaced."""
    if rng.random() < 0.4:
        return content[: rng.integers(0, len(content))]
    changed = bytearray(content)
    for _ in range(rng.integers(1, 30)):
        changed[rng.integers(0, len(changed))] = rng.integers(0, 256)
    return bytes(changed)
