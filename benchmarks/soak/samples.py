"""Sound files of every kind that is read, small and the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from benchmarks.soak import toys
from eventcam.io import BBOX_DTYPE, Events, write_bbox, write_h5_recording

WIDTH, HEIGHT, COUNT = 64, 48, 2000
TIME_US = 50  # between events
RUNS = ("baseline_lr0.001_bs8_adamw_ep100", "ofat_lr0.01_bs8_adamw_ep100")
KEPT = ("*.json", "*.yaml", "*.txt", "evaluation")
"""Of a run folder; checkpoints and logs would take long to copy."""
SECTIONS = ("experiment", "train", "dataset", "evaluation", "optimizer")
"""Of its config: those that others look at; reading the model takes its time."""
OVERRIDES = (*toys.ofat(Path("data"), 6), "optimizer.lr=0.01", "train.seed=3")


def events() -> Events:
    """Events all over the sensor."""
    rng, times = np.random.default_rng(0), TIME_US * np.arange(COUNT, dtype=np.int64)
    x, y, p = (rng.integers(0, end, COUNT) for end in (WIDTH, HEIGHT, 2))
    return Events(x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), times)


def h5(folder: Path) -> None:
    write_h5_recording(folder / "a_td.h5", [events()], WIDTH, HEIGHT)


def dat(folder: Path) -> None:
    found, words = events(), np.empty((COUNT, 2), "<u4")
    words[:, 0] = found.t
    words[:, 1] = found.x | found.y.astype("u4") << 14 | found.p.astype("u4") << 28
    header = f"% Height {HEIGHT}\n% Width {WIDTH}\n".encode() + bytes([12, 8])
    _write(folder / "a_td.dat", header + words.tobytes())


def raw(folder: Path) -> None:
    """EVT2 and EVT3 with the whole time before each event."""
    found = events()
    x, y, p, t = (getattr(found, name).astype("u8") for name in "xypt")
    evt2 = np.stack([8 << 28 | t >> 6, p << 28 | (t & 63) << 22 | x << 11 | y], 1)
    evt3 = np.stack([8 << 12 | t >> 12, 6 << 12 | t & 4095, y, 2 << 12 | p << 11 | x], 1)
    for name, words in (("EVT2", evt2.astype("<u4")), ("EVT3", evt3.astype("<u2"))):
        header = f"% evt {name[3]}.0\n% format {name};height={HEIGHT};width={WIDTH}\n"
        header += f"% geometry {WIDTH}x{HEIGHT}\n% end\n"
        _write(folder / f"{name}.raw", header.encode() + words.tobytes())


def bbox(folder: Path) -> None:
    labels = np.zeros(40, BBOX_DTYPE)
    labels["t"], labels["class_confidence"] = 10_000 * np.arange(1, 41), 1
    labels["x"], labels["y"], labels["w"], labels["h"] = 10, 8, 20, 16
    write_bbox(folder / "a_bbox.npy", labels)


def prepared(folder: Path) -> None:
    from eventcam.dataset import EventRecordings
    from toydata.streets import GeneratedRecordings

    sizes = dict(train=1, val=1, test=1, seconds=1.0, width=128, height=96)
    root = folder / "prepared"
    EventRecordings(str(root), generate=GeneratedRecordings(seed=0, **sizes)).recordings("train")


def coco(folder: Path) -> None:
    from toydata.heads import GeneratedHeads

    GeneratedHeads(image_size=64, train=4, valid=1, test=1).ensure(folder)


def images(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    for suffix in ("png", "jpg", "bmp", "tiff", "webp", "gif"):
        colour.save(folder / f"colour.{suffix}")
    Image.fromarray(rng.integers(0, 2**16, (40, 60), np.uint16)).save(folder / "deep.png")
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    colour.convert("P").save(folder / "palette.png")


def checkpoints(folder: Path) -> None:
    import torch

    from smalldet.engine.checkpoint import save_whole

    model = {"a.weight": torch.arange(600.0).reshape(20, 30), "a.bias": torch.ones(20)}
    content = {"model": model, "trainer": {"iteration": 3}, "processes": [{}]}
    folder.mkdir(parents=True)
    save_whole({**content, "data_fingerprint": "abc"}, folder / "model_0000004.pth")


def overrides(folder: Path) -> None:
    _write(folder / "overrides.txt", "\n".join(OVERRIDES).encode())


def runs(folder: Path) -> None:
    """A project folder with two finished runs, as far as the lab book reads them."""
    work = folder / "work_dirs" / "debug"
    work.mkdir(parents=True)
    (folder / "configs").symlink_to(toys.ROOT / "configs")
    for name in RUNS:
        run = work / f"ofat_{name.removeprefix('ofat_')}"
        config = toys.OFAT.replace(RUNS[0], name)
        toys.run(config, run, [*toys.ofat(folder / "data", 6), "train.log_period=1"])
        kept = {path for pattern in KEPT for path in run.glob(pattern)} - {run / "log.txt"}
        for path in run.iterdir():
            if path not in kept:
                path.unlink()
        for path in run.glob("*.yaml"):
            config = yaml.safe_load(path.read_text())
            path.write_text(yaml.safe_dump({key: config[key] for key in SECTIONS}))
        (run / "last_checkpoint").write_text("model_0000006.pth")
    _exchange(*(work / f"ofat_{name.removeprefix('ofat_')}" for name in RUNS))


def _exchange(baseline: Path, level: Path) -> None:
    """Make the level, which scored lower, the better one: so there is something to combine."""
    for name in ("evaluation", "results.json"):
        kept = (baseline / name).rename(baseline / "kept")
        (level / name).rename(baseline / name)
        kept.rename(level / name)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
