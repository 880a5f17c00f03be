"""A folder of recordings prepared: parallel, resumable, and never ended by one bad file."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest
from event_toys import (
    HEIGHT,
    WIDTH,
    label_times,
    make_events,
    make_labels,
    write_dat,
    write_recording,
)
from filelock import FileLock
from raw_toys import write_raw

from eventcam.errors import EventDataError
from eventcam.io.rvt_layout import KNOWN_EMPTY, MANIFEST, RECORD
from eventcam.labels import LabelFilter
from eventcam.prepare import folder as module
from eventcam.prepare.folder import IN_PROGRESS, prepare_all
from eventcam.prepare.recording import Preparation
from eventcam.prepare.workers import run_jobs
from eventcam.representations import StackedHistogram
from in_process import call

SETTINGS = Preparation()


def make_raw(root):
    """Three good recordings and six bad ones."""
    write_recording(root / "train", "good")
    write_recording(root / "train", "night", make_events(500, seed=2))
    write_recording(root / "val", "good")
    write_recording(root / "train", "empty_labels", labels=make_labels([]))
    write_recording(root / "train", "garbage")
    (root / "train/garbage_td.h5").write_bytes(b"noise" * 1000)
    write_recording(root / "test", "no_events_file")
    (root / "test/no_events_file_td.h5").unlink()
    write_recording(root / "test", "no_labels_file")
    (root / "test/no_labels_file_bbox.npy").unlink()
    write_recording(root / "val", "cut_labels")
    (root / "val/cut_labels_bbox.npy").write_bytes(b"\x93NUMPY")
    (root / "val/notes.txt").write_text("stray")
    return root


GOOD = ["train/good", "train/night", "val/good"]
BAD = {
    "test/no_events_file": "no_events_file_td.h5",
    "test/no_labels_file": "no_labels_file_bbox.npy is missing",
    "train/empty_labels": "no box is left of 0",
    "train/garbage": "cannot be read as HDF5",
    "val/cut_labels": "cannot be read as an array of boxes",
}


def tree(root):
    """Content of every file below ``root``."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Raw recordings, and what one uninterrupted serial run made of them."""
    folder = tmp_path_factory.mktemp("prepared")
    make_raw(folder / "raw")
    summary = prepare_all(folder / "raw", folder / "out", SETTINGS, workers=0)
    return folder, summary


def test_bad_files_are_named_and_the_others_prepared(prepared):
    folder, summary = prepared
    assert sorted(summary.prepared) == GOOD and not summary.reused
    assert summary.failed.keys() == BAD.keys()
    assert all(part in summary.failed[name] for name, part in BAD.items())
    assert all(name in str(summary) for name in BAD)
    manifest = json.loads((folder / "out" / MANIFEST).read_text())
    assert sorted(manifest["recordings"]) == GOOD and manifest["failed"] == summary.failed
    assert manifest["settings"]["class_map"] == "etram_cls8" and manifest["classes"][0] == "Car"
    assert manifest["totals"]["counts"]["events_in_file"] == 6500
    record = manifest["recordings"]["train/good"]
    assert record["sources"]["events"]["file"] == "good_td.h5"
    assert len(record["sources"]["labels"]["sha256"]) == 64
    present = {p.parent.relative_to(folder / "out").as_posix() for p in folder.rglob(RECORD)}
    assert present == {*GOOD} and not (folder / "out" / IN_PROGRESS).exists()


def test_several_workers_give_the_same_bytes(prepared, tmp_path):
    folder, _ = prepared
    prepare_all(folder / "raw", tmp_path / "out", SETTINGS, workers=2)
    assert tree(tmp_path / "out") == tree(folder / "out")


@pytest.mark.parametrize("after", [0, 5, 25])
def test_a_killed_run_resumes_to_the_same_bytes(prepared, tmp_path, monkeypatch, after):
    folder, _ = prepared
    calls = iter(range(after + 1))
    write = module.prepare_recording

    def dying(self, events, call=StackedHistogram.count):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return call(self, events)

    monkeypatch.setattr(module.shutil, "rmtree", lambda *_, **__: None)  # a kill tidies nothing
    monkeypatch.setattr(StackedHistogram, "count", dying)
    with pytest.raises(KeyboardInterrupt):
        prepare_all(folder / "raw", tmp_path / "out", SETTINGS, workers=0)
    monkeypatch.undo()
    assert (tmp_path / "out" / IN_PROGRESS).exists() and module.prepare_recording is write
    summary = prepare_all(folder / "raw", tmp_path / "out", SETTINGS, workers=0)
    assert len(summary.reused) == (after >= 19)
    assert sorted(summary.prepared + summary.reused) == GOOD
    assert tree(tmp_path / "out") == tree(folder / "out")


def test_finished_recordings_are_left_alone_until_something_changes(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    for name in ("a", "b", "c", "d"):
        write_recording(raw / "train", name)
    before = prepare_all(raw, out, SETTINGS, workers=0)
    assert len(before.prepared) == 4
    os.utime(raw / "train/a_td.h5", (1, 1))  # same content: known by its checksum
    write_recording(raw / "train", "b", make_events(99))
    (out / "train/c" / KNOWN_EMPTY).unlink()
    (raw / "train/d_td.h5").unlink()  # sources may be removed to save room
    summary = prepare_all(raw, out, SETTINGS, workers=0)
    assert summary.reused == ["train/a", "train/d"] and summary.prepared == ["train/b", "train/c"]
    (raw / "train/b_td.h5").write_bytes(b"noise")
    summary = prepare_all(raw, out, SETTINGS, workers=0)
    assert list(summary.failed) == ["train/b"] and not (out / "train/b").exists()


def test_other_settings_are_refused_before_anything_is_touched(prepared):
    folder, _ = prepared
    before = tree(folder / "out")
    for settings, message in (
        (Preparation(class_map="etram_raw8"), "was prepared with the class map 'etram_cls8'"),
        (Preparation(downsample="sum"), "other settings: downsample 'nearest' .now 'sum'"),
    ):
        with pytest.raises(EventDataError, match=message):
            prepare_all(folder / "raw", folder / "out", settings, workers=0)
    assert tree(folder / "out") == before


def test_a_folder_begun_with_a_filter_of_all_splits_is_gone_on_with_so(tmp_path, caplog):
    raw, out = tmp_path / "raw", tmp_path / "out"
    labels = make_labels(label_times(30))
    labels["w"][::2] = 4
    write_recording(raw / "val", "a", labels=labels)
    prepare_all(raw, out, replace(SETTINGS, label_filter=LabelFilter()))
    before = tree(out)
    write_recording(raw / "val", "b", labels=labels)
    assert not caplog.text
    summary = prepare_all(raw, out, SETTINGS)
    assert "boxes left out of all splits" in caplog.text and "another folder" in caplog.text
    assert (summary.reused, summary.prepared, summary.failed) == (["val/a"], ["val/b"], {})
    assert before.keys() < tree(out).keys()
    assert summary.totals["dropped_or_changed"]["boxes_too_small"] == 30


def test_folders_of_another_program_are_left_alone(tmp_path):
    write_recording(tmp_path / "raw/train", "a")
    foreign = tmp_path / "out/train/a/labels_v2"
    foreign.mkdir(parents=True)
    summary = prepare_all(tmp_path / "raw", tmp_path / "out", SETTINGS, workers=0)
    assert "was not made by this program" in summary.failed["train/a"] and foreign.exists()


def test_two_at_once_do_not_disturb_each_other(prepared, tmp_path):
    folder, _ = prepared
    arguments = (folder / "raw", tmp_path / "out", SETTINGS, 0, False)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(prepare_all, *arguments) for _ in range(2)]
        first, second = sorted((run.result() for run in runs), key=lambda s: s.reused)
    assert sorted(first.prepared) == GOOD and not first.reused
    assert sorted(second.reused) == GOOD and not second.prepared
    assert tree(tmp_path / "out") == tree(folder / "out")


def test_a_folder_that_stays_locked_is_a_sentence(tmp_path, monkeypatch):
    write_recording(tmp_path / "raw/train", "a")
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.2)
    (tmp_path / "out").mkdir()
    arguments = (tmp_path / "raw", tmp_path / "out", SETTINGS, 0)
    with (
        FileLock(tmp_path / "out/.prepare.lock"),
        pytest.raises(EventDataError, match="Another process"),
    ):
        prepare_all(*arguments)
    assert prepare_all(*arguments).prepared == ["train/a"]


def test_recordings_of_all_formats_are_found_and_prepared(tmp_path):
    write_recording(tmp_path / "raw/train", "a")
    write_recording(tmp_path / "raw/train", "b")
    write_recording(tmp_path / "raw/train", "c")
    events = make_events(3000)
    write_dat(tmp_path / "raw/train/b_td.dat", events)
    write_raw(tmp_path / "raw/train/c.raw", "EVT2", events, WIDTH, HEIGHT)
    for name in "bc":
        (tmp_path / f"raw/train/{name}_td.h5").unlink()
    (tmp_path / "raw/train/a.raw").write_bytes(b"beside what is used")
    done = prepare_all(tmp_path / "raw", tmp_path / "out", SETTINGS, 0)
    assert done.prepared == ["train/a", "train/b", "train/c"]


def test_no_recordings_at_all(tmp_path):
    with pytest.raises(EventDataError, match="No recordings were found"):
        prepare_all(tmp_path, tmp_path / "out", SETTINGS)


def test_a_worker_that_dies_takes_only_its_own_job_with_it():
    """Jobs for Python's ``eval``, so that workers need not import this module and all it does."""
    death, error = "__import__('os')._exit(1)", "int('five')"  # death: as if killed for its memory
    jobs = ["2 * 0", "2 * 1", "2 * 2", death, "2 * 4", error, "2 * 6"]
    found = dict(run_jobs(eval, jobs, workers=2))
    assert isinstance(found.pop(death), BrokenProcessPool) and "five" in str(found.pop(error))
    assert found == {"2 * 0": 0, "2 * 1": 2, "2 * 2": 4, "2 * 4": 8, "2 * 6": 12}


@pytest.mark.parametrize(("good", "code"), [(True, 0), (False, 1)])
def test_the_command_fails_only_if_nothing_could_be_prepared(tmp_path, good, code):
    write_recording(tmp_path / "raw/train", "bad", labels=make_labels([]))
    if good:
        write_recording(tmp_path / "raw/train", "good", labels=make_labels(label_times(30)))
    command = "tools/prepare_events.py"
    done = call(command, tmp_path / "raw", tmp_path / "out", "--workers", "0")
    assert done.returncode == code and "FAILED train/bad: no box is left" in done.stdout
    done = call(command, tmp_path / "no raw", tmp_path / "no out")
    assert done.returncode == 1 and "No recordings were found" in done.stderr
    assert not (tmp_path / "no out").exists()
