"""A toy event run through the real script: memory of the streams survives a kill."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from event_toys import HEIGHT, WIDTH, make_events
from raw_toys import write_raw
from script_runs import assert_equal_ends, execute, kill_and_resume, metrics, results, run_script

from eventcam.io import write_h5_recording

CONFIG = "configs/debug/etram/3scale_sizeaware_attention_100k.py"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> list[str]:
    """Overrides for 4 steps of 2 streams, with memory in backbone and neck, augmentation, a
    balanced classifier, which draws its samples, and an average of the weights.
    """
    data = tmp_path_factory.mktemp("events") / "prepared"
    sizes = "{seed: 0, train: 2, val: 1, test: 1, seconds: 0.3, width: 128, height: 96}"
    return [
        f"dataset.root={data}",
        f"dataset.generate={sizes}",
        "dataloader.sequence_length=2",
        "train.total_batch_size=2",
        "train.micro_batch_size=1",
        "train.max_iter=4",
        "train.eval_period=2",
        "train.checkpointer.period=2",
        "train.ema_decay=0.9",
        "model.backbone.bottom_up.embed_dim=8",
        "model.backbone.depth=0.33",
        "model.head.balanced_classifier=true",
    ]


@pytest.fixture(scope="module")
def whole_run(small, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run_script(CONFIG, folder, small)
    return folder


def test_all_protocols_score_the_same_predictions(whole_run):
    protocols = {"bbox/AP-small-classes", "prophesee/AP50", "etram_published/AP50"}
    assert {"bbox/AP50", *protocols} <= set(results(whole_run)["test"])
    folder = whole_run / "evaluation" / "test"
    assert (folder / "matches.npz").exists()
    objects = json.loads((folder / "gallery.json").read_text())["objects"]
    assert objects and all((folder / entry["file"]).exists() for entry in objects)
    assert "class map etram_cls8" in (whole_run / "log.txt").read_text()


def test_the_average_is_scored_beside_the_weights(whole_run):
    scores = results(whole_run)
    assert set(scores["ema"]["test"]) == set(scores["test"])
    evaluated = [row for row in metrics(whole_run) if "bbox/AP50" in row]
    assert len(evaluated) == 2 and all("ema/bbox/AP50" in row for row in evaluated)
    raw, average = (
        torch.load(whole_run / f"{name}.pth", weights_only=True)["model"]
        for name in ("model_best", "model_best_ema")
    )
    assert raw.keys() == average.keys()
    assert not all(torch.equal(raw[name], average[name]) for name in raw)


def test_a_recording_as_the_camera_sent_it_becomes_boxes_by_the_script(whole_run, tmp_path):
    events = make_events(2000, last_us=100_000)
    write_raw(tmp_path / "a_td.raw", "EVT3", events, WIDTH, HEIGHT, vectors=True)
    write_h5_recording(tmp_path / "b_td.h5", [events], WIDTH, HEIGHT)
    found = predicted(whole_run, tmp_path)
    raw, h5 = (found[name] for name in ("a_td.raw", "b_td.h5"))
    assert raw == h5 and {box["time_us"] for box in raw} == {50_000, 100_000}
    assert all(len(box["bbox"]) == 4 for box in raw)


def predicted(run: Path, recordings: Path) -> dict[str, list[dict]]:
    """What tools/predict.py writes beside the videos of the recordings in a folder, by file."""
    out = recordings / "found"
    words = [run, recordings, "model.head.score_threshold=0.0", "--score=0", "--save-json"]
    done = execute([sys.executable, "tools/predict.py", *map(str, words), f"--out={out}"])
    assert done.returncode == 0, done.stdout + done.stderr
    videos = [out / f"{path.stem}.mp4" for path in recordings.glob("*_td.*")]
    assert len(videos) == 2 and all(video.stat().st_size > 1000 for video in videos)
    boxes: dict[str, list[dict]] = {}
    for entry in json.loads((out / "predictions.json").read_text()):
        del entry["image_id"]  # counts the windows of all files
        boxes.setdefault(entry.pop("file_name"), []).append(entry)
    return boxes


def test_checkpoints_hold_the_memory_of_each_stream(whole_run):
    checkpoint = torch.load(whole_run / "model_final.pth", weights_only=True)
    (process,) = checkpoint["processes"]
    assert len(process["recurrent"]) == 2
    assert not any("state" in name for name in checkpoint["model"])


def test_kill_9_and_resume_end_in_the_same_digits(whole_run, small, tmp_path):
    kill_and_resume(CONFIG, tmp_path, small)
    assert metrics(tmp_path) == metrics(whole_run)
    assert_equal_ends(tmp_path, whole_run)


def test_recordings_that_are_cut_or_gone_are_counted_at_the_end(whole_run, small, tmp_path):
    prepared = Path(small[0].partition("=")[2])
    data = shutil.copytree(prepared, tmp_path / "data")
    cut, _ = sorted((data / "train").iterdir())
    (file,) = cut.rglob("*.h5")
    file.write_bytes(file.read_bytes()[:-1000])
    (tested,) = (data / "test").iterdir()
    shutil.rmtree(shutil.copytree(tested, data / "test/other") / "labels_v2")
    short = [*small[2:], "train.max_iter=2", "train.ema_decay=0.0"]
    there = [f"dataset.root={data}", "dataset.generate=null"]
    out = run_script(CONFIG, tmp_path / "run", [*there, *short])
    expected = {"train": 1, "test": 1}
    for file in ("results.json", "run.json"):
        found = json.loads((tmp_path / "run" / file).read_text())["data_findings"].items()
        left_out = {split: counts.get("recordings_left_out", 0) for split, counts in found}
        assert {split: count for split, count in left_out.items() if count} == expected
    summary = (tmp_path / "run/experiment_summary.txt").read_text()
    assert "train: recordings left out 1" in summary
    assert "recordings left out 1" in out.rpartition("Starting training")[2]
