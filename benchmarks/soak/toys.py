"""Toy runs through the training script: their configs, and starting them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "tools/lazyconfig_train_net.py"
OFAT = "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
ETRAM = "configs/debug/etram/3scale_sizeaware_attention_100k.py"


def ofat(data: Path, steps: int) -> list[str]:
    """Overrides of :data:`OFAT`: so many steps of 4 images in micro-batches of 2."""
    return [
        f"dataset.root={data}",
        "dataset.generate={seed: 0, image_size: 64, train: 8, valid: 2, test: 2}",
        "dataloader.image_size=64",
        "train.images=8",
        "train.total_batch_size=4",
        "train.micro_batch_size=2",
        f"train.max_iter={steps}",
        "train.eval_period=20",
        "model.proposal_generator.pre_nms_topk=[50, 50]",
        "model.roi_heads.batch_size_per_image=16",
    ]


def etram(data: Path, steps: int) -> list[str]:
    """Overrides of :data:`ETRAM`: so many steps of 2 streams, one after the other."""
    sizes = "{seed: 0, train: 2, val: 1, test: 1, seconds: 1.0, width: 128, height: 96}"
    return [
        f"dataset.root={data}",
        f"dataset.generate={sizes}",
        "dataloader.sequence_length=3",
        "train.total_batch_size=2",
        "train.micro_batch_size=1",
        f"train.max_iter={steps}",
        "train.eval_period=20",
        "train.ema_decay=0.9",
        "model.head.balanced_classifier=true",
    ]


def start(config: str, folder: Path, overrides: list[str], *flags: str) -> subprocess.Popen[bytes]:
    """The training process, in a session of its own; what it prints goes to ``said(folder)``."""
    words = [SCRIPT, "--config-file", config, *flags, *overrides, f"train.output_dir={folder}"]
    with _console(folder).open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment(),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def run(config: str, folder: Path, overrides: list[str]) -> None:
    """A run to its end.

    Raises:
        RuntimeError: it failed; with the last it said.
    """
    if code := start(config, folder, overrides).wait():
        raise RuntimeError(f"the run in {folder} ended with {code}: {said(folder)}")


def said(folder: Path) -> str:
    """The last lines that the runs in ``folder`` printed."""
    return " | ".join(_console(folder).read_text(errors="replace").splitlines()[-3:])


def environment() -> dict[str, str]:
    """Of a child process: one thread, and the packages of this checkout."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "projects")])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}


def _console(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.out")
