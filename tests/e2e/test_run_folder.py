"""Whole toy runs through the real script: kill, resume, evaluate, refuse, several processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from script_runs import (
    CONFIG,
    SCRIPT,
    assert_equal_ends,
    beside,
    command,
    execute,
    execute_anew,
    forked,
    free_port,
    kill_and_resume,
    metrics,
    results,
    run_script,
    small_overrides,
    wait_for,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

BUFFERS = {"pixel_mean", "pixel_std"}
WHOLE = [
    "code_changes_summary.txt",
    "config.yaml",
    "config_source.yaml",
    "data_fingerprint.txt",
    "diff.txt",
    "evaluation/test/gallery.json",
    "evaluation/test/predictions.json",
    "evaluation/valid/matches.npz",
    "experiment_hypothesis.txt",
    "experiment_summary.txt",
    "ledger.json",
    "log.txt",
    "metrics.json",
    "model_best.pth",
    "model_final.pth",
    "modification_details.txt",
    "results.json",
    "run.json",
    "training_command.txt",
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Overrides that make the toy baseline smaller still: 6 steps of 4 images."""
    return small_overrides(tmp_path_factory.mktemp("data") / "heads")


@pytest.fixture(scope="module")
def whole_run(small, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run_script(CONFIG, folder, small, threads=1)
    return folder


def test_a_run_leaves_all_that_is_needed_to_judge_it(whole_run):
    missing = [name for name in WHOLE if not (whole_run / name).exists()]
    assert not missing and list(whole_run.glob("events.out.tfevents.*"))
    assert len(list(whole_run.glob("model_0*.pth"))) == 2  # of three epochs, the newest two
    record = json.loads((whole_run / "run.json").read_text())
    assert record["status"] == "finished" and record["peak_memory_mb"] > 0
    scores = results(whole_run)
    assert scores["iterations"] == 6 and set(scores["test"]) == set(scores["valid"])
    last = metrics(whole_run)[-1]
    assert {"total_loss", "grad_norm", "lr", "validation/total_loss", "bbox/AP50"} <= last.keys()


def test_tensorboard_has_a_picture_of_each_evaluation(whole_run):
    events = EventAccumulator(str(whole_run), {"images": 0}).Reload()
    scored = [event.step for event in events.Scalars("bbox/AP50")]
    assert scored == [1, 3, 5] == [event.step for event in events.Images("found")]


def test_frozen_bytes_do_not_change_and_have_no_optimizer_state(whole_run):
    final = torch.load(whole_run / "model_final.pth", weights_only=True)
    first = torch.load(sorted(whole_run.glob("model_0*.pth"))[0], weights_only=True)
    frozen = [name for name in final["model"] if name.startswith("backbone.bottom_up.")]
    assert frozen
    assert all(torch.equal(final["model"][name], first["model"][name]) for name in frozen)
    groups = final["trainer"]["optimizer"]["param_groups"]
    optimized = sum(len(group["params"]) for group in groups)
    assert optimized == len(final["model"]) - len(frozen) - len(BUFFERS & set(final["model"]))


def test_kill_9_and_resume_end_in_the_same_digits(whole_run, small, tmp_path):
    kill_and_resume(CONFIG, tmp_path, small)
    assert metrics(tmp_path) == metrics(whole_run)
    assert_equal_ends(tmp_path, whole_run)


def test_ctrl_c_saves_and_the_resumed_run_ends_in_the_same_digits(whole_run, small, tmp_path):
    rare = ["train.log_period=1", "train.checkpointer.period=100"]
    overrides = [*small, *rare, "dataloader.train.num_workers=1"]
    process = forked(command(CONFIG, tmp_path, overrides), beside(tmp_path))
    wait_for(tmp_path / "metrics.json", process, size=1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: its data-loading process, too
    assert process.wait(300) == 130
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "interrupted"
    (saved,) = tmp_path.glob("model_0*.pth")  # none was due
    assert (tmp_path / "last_checkpoint").read_text() == saved.name != "model_0000006.pth"
    run_script(CONFIG, tmp_path, overrides, "--resume")
    resumed = {row["iteration"]: row for row in metrics(tmp_path)}
    for row in metrics(whole_run):
        assert resumed[row["iteration"]].items() >= row.items()
    assert_equal_ends(tmp_path, whole_run)


def test_eval_only_needs_nothing_but_the_run_folder(whole_run, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("config.yaml", "model_best.pth"):
        (moved / name).write_bytes((whole_run / name).read_bytes())
    done = execute(
        [sys.executable, SCRIPT, "--config-file", str(moved / "config.yaml"), "--eval-only"]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for split in ("valid", "test"):
        name = f"evaluation/{split}/predictions.json"
        assert (moved / name).read_bytes() == (whole_run / name).read_bytes()


def test_a_second_start_and_a_resume_with_another_config_are_refused(whole_run, small):
    before = {p: p.stat().st_mtime_ns for p in whole_run.iterdir()}
    done = execute(command(CONFIG, whole_run, small))
    assert done.returncode != 0 and "--resume" in done.stderr
    assert {p: p.stat().st_mtime_ns for p in whole_run.iterdir()} == before
    done = execute(command(CONFIG, whole_run, [*small, "optimizer.lr=0.5"], "--resume"))
    assert done.returncode != 0 and "optimizer.lr" in done.stderr


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def refused(*words) -> str:
    done = execute(list(words))
    assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_damage_is_refused_and_the_printed_advice_works(whole_run, small, tmp_path):
    folder = shutil.copytree(whole_run, tmp_path / "run")
    for name in ("results.json", "model_final.pth"):
        (folder / name).unlink()
    flip_a_byte(folder / "model_0000006.pth")
    words = command(CONFIG, folder, small, "--resume")
    (advice,) = re.findall(r"echo model_0000004\.pth > \S+last_checkpoint", refused(*words))
    subprocess.run(advice, shell=True, check=True)
    run_script(CONFIG, folder, small, "--resume")
    assert metrics(folder) == metrics(whole_run)
    assert_equal_ends(folder, whole_run)

    flip_a_byte(folder / "model_best.pth")
    script = [sys.executable, SCRIPT, "--config-file", str(folder / "config.yaml"), "--eval-only"]
    (advice,) = re.findall(r"train\.init_checkpoint=\S+", refused(*script))
    done = execute([*script, advice])
    assert done.returncode == 0, done.stdout + done.stderr

    (folder / "config.yaml").unlink()
    assert "config.yaml" in refused(*words)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.images=9", "train.images=8"),
        ("model.roi_heads.num_classes=2", "predicts 2 classes"),
        ("dataset.classes=[hat]", "heads-detection"),
        ("train.max_itre=3", "train.max_iter"),
    ],
)
def test_contradictions_end_in_a_sentence_before_the_first_step(
    small, tmp_path, override, sentence
):
    done = execute(command(CONFIG, tmp_path, [*small, override]))
    assert done.returncode != 0
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.slow
def test_two_processes_train_on_a_cpu(small, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    done = execute_anew([sys.executable, *launcher, *command(CONFIG, tmp_path, small)[1:]])
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "finished"
    final = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert len(final["processes"]) == 2 and (tmp_path / "log.txt.rank1").exists()
