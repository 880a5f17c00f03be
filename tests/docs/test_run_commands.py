"""The commands of the pages, run in their order on small data; training in its toy size, two steps.

Each command is run, or a row of ``NOT_RUN`` says why it is not.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from page_commands import Command, commands

pytestmark = pytest.mark.slow
NOT_RUN = {
    r"make|pip|git|cd|\.|pre-commit|tensorboard|pytest|python3 -m venv|\.venv/": "sets up, shows",
    r"python (tests/|docs/|tools/install|-m bench)": "is a suite of its own, or sets up",
    r"smalldet ": "needs a network, or is what a script of tools/ does",
    r"torchrun|.*--executor slurm": "needs several GPUs, or a cluster",
    r"\./run_\w+\.sh|\S*lab\.py (run|preflight|watch|clean|combine)": "trains for long, or asks",
    r"\S*lab\.py (table|analyse|report|reproduce)": "needs finished runs of a study",
    r"lab\.py": "stands for what is run with tools/ before it",
    r".*(--measure|configs/rvt/published|gen[14]_\dclasses|\bX$)": "full size, or sets of others",
    r"tools/cache_features.py|tools/reproduce_nan.py": "full size; needs a run that stopped",
    r".*--trust MODULE": "needs a module of the reader",
    r"tools/doctor.py data$": "data in the place that DETECTRON2_DATASETS names",
}
REASON = re.compile("|".join(f"(?:{reason})" for reason in NOT_RUN))
STEPS = "max_iter=2 eval_period=2 checkpointer.period=2 log_period=1"
SHORT = [f"train.{x}" for x in (*STEPS.split(), "total_batch_size=2", "micro_batch_size=1")]
HEADS = "dataset.root=datasets/coco train.images=16 dataloader.num_workers=0"
SMALL_HEADS = f"{HEADS} dataloader.image_size=96 {' '.join(SHORT)}"
TRAIN = "tools/lazyconfig_train_net.py --config-file configs"
EVENTS = f"debug/etram/baseline_3scale_100k.py {' '.join(SHORT)}"
SETUP = f"""
datasets/make_head_dataset.py --root datasets/coco --train 16 --valid 4 --test 4
datasets/make_event_dataset.py RAW --train 2 --valid 1 --test 1 --seconds 1
datasets/make_event_dataset.py FOLDER --train 1 --valid 1 --test 1 --seconds 1
tools/make_vim_checkpoint.py ckpts/vim_tiny_pretrained.pth
{TRAIN}/examples/small_heads.py {SMALL_HEADS} train.output_dir=work_dirs/RUN
{TRAIN}/{EVENTS} train.output_dir=work_dirs/etram_RUN
"""
ALL = [command for command in commands() if command.page.startswith("docs/")]
LINES = {shlex.join(command.words): command for command in reversed(ALL)}  # each once
RUN = [c for c in ALL if LINES[line := shlex.join(c.words)] is c and not REASON.match(line)]


def execute(words: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Its output; fails with it unless the command ends well."""
    if words[0] == "python":
        words = [sys.executable, *words[1:]]
    options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    done = subprocess.run(words, cwd=folder, env=environment, check=False, **options)
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert done.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def begun(checkout: Path, environment) -> Path:
    """A checkout with data and runs under the names that the pages use."""
    for line in SETUP.strip().splitlines():
        execute(shlex.split(line), checkout, environment)
    runs = checkout / "work_dirs"
    shutil.copytree(runs / "etram_RUN", runs / "etram_baseline_3scale_100k")
    image = next(checkout.glob("datasets/coco/test/*.jpg"))
    for name in ("photo.jpg", "crowd.jpg"):
        shutil.copy(image, checkout / name)
    recording = next(checkout.glob("RAW/train/*_td.h5"))
    shutil.copy(recording, checkout / "street_td.h5")
    name = recording.name.removesuffix("_td.h5")
    for path in checkout.glob(f"RAW/train/{name}*"):
        path.rename(path.with_name(path.name.replace(name, "NAME")))
    (checkout / "datasets/weather.csv").write_text("recording,slice\nval_day_0001,rain\n")
    shutil.copy(checkout / "ckpts/vim_tiny_pretrained.pth", checkout / "FILE")
    write_yolo(checkout / "SOURCE", image)
    return checkout


def write_yolo(source: Path, image: Path) -> None:
    """One labelled image for training, and one to validate."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (source / kind / split).mkdir(parents=True)
        shutil.copy(image, source / f"images/{split}/a.jpg")
        (source / f"labels/{split}/a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    text = "names: [head]\ntrain: images/train\nval: images/val\n"
    (source / "data.yaml").write_text(text)


def in_toy_size(command: Command) -> list[str]:
    """Its words, with what the reader would put there, and training cut short."""
    words = list(command.words)
    if command.page == "docs/events.md":
        words = [word.replace("work_dirs/RUN/", "work_dirs/etram_RUN/") for word in words]
    if words[:2] == ["tools/lab.py", "explain"]:
        return [*words[:2], "ofat_lr0.01_bs8_adamw_ep100", "optimizer.lr"]
    if words[:2] == ["tools/doctor.py", "config"]:
        return [*words, "--no-step", "train.images=16"]  # a full-size step takes minutes
    trains = words[0].endswith("lazyconfig_train_net.py") and "--eval-only" not in words
    if trains and "configs/examples/small_heads.py" in words:
        return [*words, *SMALL_HEADS.split()]  # where the page has three dots
    if "--assignment" in words:
        words = [re.sub("^configs/.*", "work_dirs/etram_RUN/config.yaml", w) for w in words]
    if trains:
        words = [re.sub("^configs/", "configs/debug/", word) for word in words]
        words += [*SHORT, f"train.output_dir=work_dirs/line_{command.line}"]
    if "dataset.root=datasets/mine" in words:
        words.append("dataset.downsample=nearest")  # as it was prepared; the toy size has none
    return words


def test_reasons_are_used():
    assert all(any(re.match(reason, line) for line in LINES) for reason in NOT_RUN)
    assert len(RUN) > 30


@pytest.mark.parametrize("command", RUN, ids=str)
def test_it_runs(command: Command, begun: Path, environment):
    execute(in_toy_size(command), begun, environment)
