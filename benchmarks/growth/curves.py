"""What is measured: calls at growing sizes, sampled in turn, so that no drift looks like growth."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster

from benchmarks.growth.fit import Line
from benchmarks.measure import Call, repeats_of, sample
from benchmarks.parts.data.evaluation import generated, prepared
from benchmarks.parts.data.events import HEIGHT, RATE, WIDTH, prepare_street, recorded
from benchmarks.parts.models import scan
from benchmarks.published.pair import CHANNELS, rvt_pair
from eventcam.io import BBOX_DTYPE, write_bbox, write_h5_recording
from smalldet.kernels.scan.backends import why_unusable

Series = Mapping[str, Mapping[Any, Call]]  # name of the line -> size on its axis -> what is timed

BACKENDS = ("reference", "chunked", "compiled")  # the last one needs a compiler
SCAN_LENGTH = scan.LENGTH  # of ViM-Tiny at 640 px
REFERENCE_UP_TO = 4096  # steps; further it would take most of the time
UNIT_HEIGHT, UNIT_WIDTH = 192, 320  # px; multiples need no padding
PATCH_HEIGHT, PATCH_WIDTH = 384, 640
FIRST, CHUNK = 50_000, 100_000  # us: the first event, and a stretch with two windows
LABELS = 3  # in each stretch: 30 Hz
IMAGES, CLASSES = 1000, 8


class Curve(NamedTuple):
    """One plot: how something grows with something."""

    title: str
    axis: str  # what the sizes are, with their unit
    thing: str  # what is doubled, in a sentence
    sizes: Sequence[int]
    rounds: int  # samples of each point
    build: Callable[[Sequence[int], Path], Series]  # of sizes, and an empty folder


CURVES: dict[str, Curve] = {}


def curve(axis: str, thing: str, sizes: Sequence[int], rounds: int) -> Callable:
    """Enter the decorated builder into ``CURVES``; its docstring begins with the title."""

    def enter(build: Callable[[Sequence[int], Path], Series]) -> Callable:
        title = str(build.__doc__).splitlines()[0].removesuffix(".")
        CURVES[build.__name__] = Curve(title, axis, thing, sizes, rounds, build)
        return build

    return enter


def measured(one: Curve) -> dict[str, Line]:
    """The lines of a curve, by name."""
    with tempfile.TemporaryDirectory() as folder:
        return in_turn(one.build(one.sizes, Path(folder)), one.rounds)


def in_turn(series: Series, rounds: int) -> dict[str, Line]:
    """Times of all calls of all lines, one sample of each after the other, ``rounds`` times."""
    calls = [call for points in series.values() for call in points.values()]
    repeats = [repeats_of(call) for call in calls]
    turns = [[sample(*pair) for pair in zip(calls, repeats, strict=True)] for _ in range(rounds)]
    samples = iter(zip(*turns, strict=True))
    return {
        name: Line(list(points), [list(next(samples)) for _ in points])
        for name, points in series.items()
    }


@curve("length, steps", "length", [2**n for n in range(8, 15)], rounds=9)
def scan_length(lengths: Sequence[int], _: Path) -> Series:
    """Selective scan, 384 channels, state 16, batch 1."""
    series = scans({n: scan.inputs(1, n) for n in lengths})
    reference = {n: call for n, call in series["reference"].items() if n <= REFERENCE_UP_TO}
    return {**series, "reference": reference}


@curve("batch", "batch", [1, 2, 4, 8, 16], rounds=7)
def scan_batch(batches: Sequence[int], _: Path) -> Series:
    """Selective scan, 384 channels, state 16, length 1,600."""
    return scans({n: scan.inputs(n, SCAN_LENGTH) for n in batches})


def scans(points: Mapping[int, dict[str, Any]]) -> Series:
    """Forward passes of each usable backend, slowest first, on the same arguments by size."""
    names = [name for name in BACKENDS if why_unusable(name, "cpu") is None]
    return {name: {n: scan.forward(name, given) for n, given in points.items()} for name in names}


@curve("resolution, millions of pixels", "number of pixels", [1, 2, 3, 4, 5], rounds=15)
def rvt_resolution(multiples: Sequence[int], _: Path) -> Series:
    """RVT-T, a time step, patch 4.

    The sizes are multiples of 192x320 px.
    """
    detector, _published = rvt_pair("tiny")
    shapes = [(UNIT_HEIGHT * n, UNIT_WIDTH * n) for n in multiples]
    return {"RVT-T": {h * w / 1e6: rvt_step(detector, h, w) for h, w in shapes}}


@curve("tokens of the first stage, thousands", "number of tokens", [8, 4, 2], rounds=15)
def rvt_patch(patches: Sequence[int], _: Path) -> Series:
    """RVT-T, a time step at 384x640 px, patch 8, 4, 2."""
    return {
        "RVT-T": {
            PATCH_HEIGHT * PATCH_WIDTH / patch**2 / 1e3: rvt_step(
                rvt_pair("tiny", patch_size=patch)[0], PATCH_HEIGHT, PATCH_WIDTH
            )
            for patch in patches
        }
    }


def rvt_step(detector: torch.nn.Module, height: int, width: int) -> Call:
    """The first step of a recording; batch 1, counts to detections.

    With random weights later steps find thousands of objects, whose overlaps cost more than all
    the rest, and with the square of their number.
    """
    generator = torch.Generator().manual_seed(1)
    cells = torch.rand(1, 1, CHANNELS, height, width, generator=generator)
    sample = {"events": (cells < 0.05).to(torch.uint8)[0], "is_first": True, "stream": 0}

    @torch.no_grad()
    def call() -> None:
        detector([sample])

    return call


@curve("events, millions", "number of events", [2, 5, 10, 20, 40], rounds=7)
def preparation(millions: Sequence[int], folder: Path) -> Series:
    """Preparation of a recording, 10 M events a second.

    From file to file in one process.
    """
    return {"preparation": {n: prepared_street(n, folder / f"{n}M") for n in millions}}


def prepared_street(millions: int, folder: Path) -> Call:
    """Of a recording of ``millions`` million events at a steady rate; all of them are in windows.

    The windows begin at 50 ms, and with these labels they end at the last event.
    """
    duration = round(millions * 1e6 / RATE * 1e6)  # us
    chunks = (recorded(start, start + CHUNK) for start in range(FIRST, FIRST + duration, CHUNK))
    source, target = folder / "raw", folder / "prepared"
    write_h5_recording(source / "street_td.h5", chunks, WIDTH, HEIGHT)
    boxes = np.zeros((duration - CHUNK) // CHUNK * LABELS + 1, BBOX_DTYPE)
    boxes["t"] = np.rint(FIRST + CHUNK + np.arange(len(boxes)) * CHUNK / LABELS)
    boxes["x"] = boxes["y"] = boxes["w"] = boxes["h"] = 100
    write_bbox(source / "street_bbox.npy", boxes)

    def call() -> None:
        shutil.rmtree(target, ignore_errors=True)
        prepare_street(source, target)

    return call


@curve("detections an image", "number of detections", [10, 20, 50, 100, 200], rounds=9)
def evaluation(detections: Sequence[int], _: Path) -> Series:
    """COCO evaluation, 1,000 images, 8 classes."""
    data = {n: generated(CLASSES, IMAGES, n) for n in detections}
    calls = {n: prepared(COCO, COCOeval_faster, *pair) for n, pair in data.items()}
    return {"evaluation": calls}
