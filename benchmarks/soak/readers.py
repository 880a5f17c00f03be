"""What is read of damaged inputs, by whom, and in which errors that may end."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.soak import samples, toys
from benchmarks.soak.parts import READERS as NAMES
from eventcam.errors import EventDataError
from labbook.config.signatures import ConfigError
from smalldet.backbones.weight_files import CheckpointError
from smalldet.data.errors import DataError


@dataclass(frozen=True)
class Reader:
    """How inputs of a kind are made and read."""

    make: Callable[[Path], None]
    """Writes sound files into a folder."""
    read: Callable[[Path, Random], Any]
    """Reads what is in it."""
    files: tuple[str, ...]
    """Patterns of those that are damaged, one at a time."""
    sentences: tuple[type[Exception], ...] = ()
    """Errors whose text is a sentence for users."""
    is_sealed: bool = False
    """Whether what is read without an error must be what was written."""


def read_events(folder: Path, rng: Random) -> None:
    from eventcam.io import open_events

    for path in sorted(folder.iterdir()):
        with open_events(path) as reader:
            reader.num_events(), reader.time_range_us()
            for _ in reader.chunks(500):
                pass


def read_bbox(folder: Path, rng: Random) -> None:
    from eventcam.io import read_bbox

    read_bbox(folder / "a_bbox.npy")


def read_prepared(folder: Path, rng: Random) -> None:
    from eventcam.dataset import EventRecordings

    for recording in EventRecordings(str(folder / "prepared")).recordings("train"):
        for step in range(recording.num_steps):
            recording.events(step, step + 1)
        for frame in range(recording.num_frames):
            recording.boxes(frame)
        recording.close()


def read_coco(folder: Path, rng: Random) -> None:
    from smalldet.data import CocoSplits

    data = CocoSplits(str(folder))
    data.records("train"), data.metadata("train"), data.report("train")


def read_images(folder: Path, rng: Random) -> None:
    from smalldet.data.images import check_image, read_image

    paths = sorted(folder.iterdir())
    for path in paths:
        check_image(path)
    for path in paths:
        read_image(path, "RGB")


def read_checkpoint(folder: Path, rng: Random) -> Any:
    from smalldet.engine.weights import WHOLE, read_checkpoint

    content = read_checkpoint(folder / "model_0000004.pth", WHOLE)
    weights = {name: tensor.tolist() for name, tensor in content["model"].items()}
    return {**content, "model": weights}


@cache
def _config() -> Any:
    from labbook.config.load import load_config

    return load_config(toys.ROOT / toys.OFAT)


def read_overrides(folder: Path, rng: Random) -> None:
    from labbook.config.load import to_plain
    from labbook.config.overrides import apply_overrides

    path = folder / "overrides.txt"
    lines = path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []
    for line in {*lines} - {*samples.OVERRIDES} or lines[:1]:
        cfg = copy.deepcopy(_config())
        apply_overrides(cfg, [line])
        to_plain(cfg)


def read_runs(folder: Path, rng: Random) -> None:
    from labbook.cli import main

    run = next(path for path in sorted((folder / "work_dirs/debug").iterdir()) if path.is_dir())
    own = {"reproduce": [run.name], "clean": ["ofat", "--yes"]}
    own["explain"] = [samples.RUNS[1], "train.max_iter"]
    own["plan"] = ["ofat", "--only", *samples.RUNS]
    commands = (*("list", "table", "analyse", "report", "combine", "watch"), *own)
    command = rng.choice(commands)
    main([command, *own.get(command, ["ofat"]), "--debug"], folder, toys.SCRIPT)


_READERS = (
    Reader(
        samples.runs,
        read_runs,
        tuple(
            f"work_dirs/debug/*/{name}"
            for name in ("*.json", "*.yaml", "last_checkpoint", "evaluation/*/*.*")
        ),
    ),
    Reader(samples.coco, read_coco, ("train/_annotations.coco.json",), (DataError,)),
    Reader(samples.images, read_images, ("*",), (DataError,)),
    *(
        Reader(make, read_events, ("*",), (EventDataError,))
        for make in (samples.h5, samples.dat, samples.raw)
    ),
    Reader(samples.bbox, read_bbox, ("*",), (EventDataError,)),
    Reader(
        samples.prepared,
        read_prepared,
        ("prepared/train/*/**/*.*", "prepared/manifest.json"),
        (EventDataError,),
    ),
    Reader(
        samples.checkpoints,
        read_checkpoint,
        ("*",),
        (CheckpointError, FileNotFoundError),
        is_sealed=True,
    ),
    Reader(samples.overrides, read_overrides, ("*",), (ConfigError,)),
)
READERS = dict(zip(NAMES, _READERS, strict=True))
