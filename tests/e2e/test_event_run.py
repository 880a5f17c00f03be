"""A toy event run through the real script: memory of the streams survives a kill."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from script_runs import ROOT, command, environment, execute, metrics, results, wait_for

CONFIG = "configs/debug/etram/3scale_sizeaware_attention_100k.py"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> list[str]:
    """Overrides for 6 steps of 2 streams, with memory in backbone and neck, augmentation, and an
    average of the weights.
    """
    data = tmp_path_factory.mktemp("events") / "prepared"
    sizes = "{seed: 0, train: 2, val: 1, test: 1, seconds: 1.0, width: 128, height: 96}"
    return [
        f"dataset.root={data}",
        f"dataset.generate={sizes}",
        "dataloader.sequence_length=3",
        "train.total_batch_size=2",
        "train.micro_batch_size=1",
        "train.max_iter=6",
        "train.eval_period=2",
        "train.checkpointer.period=2",
        "train.ema_decay=0.9",
    ]


@pytest.fixture(scope="module")
def whole_run(small, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    done = execute(command(CONFIG, folder, small))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_all_protocols_score_the_same_predictions(whole_run):
    scores = results(whole_run)["test"]
    assert {"bbox/AP50", "bbox/AP-small-classes", "prophesee/AP50", "etram_published/AP50"} <= set(
        scores
    )
    assert (whole_run / "evaluation" / "test" / "matches.npz").exists()


def test_the_average_is_scored_beside_the_weights(whole_run):
    scores = results(whole_run)
    assert set(scores["ema"]["test"]) == set(scores["test"])
    evaluated = [row for row in metrics(whole_run) if "bbox/AP50" in row]
    assert len(evaluated) == 3 and all("ema/bbox/AP50" in row for row in evaluated)
    raw, average = (
        torch.load(whole_run / f"{name}.pth", weights_only=True)["model"]
        for name in ("model_best", "model_best_ema")
    )
    assert raw.keys() == average.keys()
    assert not all(torch.equal(raw[name], average[name]) for name in raw)


def test_crops_of_true_objects_are_left(whole_run):
    folder = whole_run / "evaluation" / "test"
    objects = json.loads((folder / "gallery.json").read_text())["objects"]
    assert objects and all((folder / entry["file"]).exists() for entry in objects)


def test_the_log_has_what_the_event_room_says(whole_run):
    assert "class map etram_cls8" in (whole_run / "log.txt").read_text()


def test_checkpoints_hold_the_memory_of_each_stream(whole_run):
    checkpoint = torch.load(whole_run / "model_final.pth", weights_only=True)
    (process,) = checkpoint["processes"]
    assert len(process["recurrent"]) == 2
    assert not any("state" in name for name in checkpoint["model"])


def test_kill_9_and_resume_end_in_the_same_digits(whole_run, small, tmp_path):
    process = subprocess.Popen(
        command(CONFIG, tmp_path, small), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    )
    wait_for(tmp_path / "last_checkpoint", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "results.json").exists(), "the run was over before it was killed"
    done = execute(command(CONFIG, tmp_path, small, "--resume"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert metrics(tmp_path) == metrics(whole_run)
    ours, theirs = (
        torch.load(folder / "model_final.pth", weights_only=True)["model"]
        for folder in (tmp_path, whole_run)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
