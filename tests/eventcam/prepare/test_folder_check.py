"""What is found in folders of recordings, raw and prepared ones alike."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from event_toys import HEIGHT, WIDTH, label_times, make_events, make_labels, write_recording

from console.main import main
from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.folder_check import look_into
from eventcam.prepare.recording import Preparation
from eventcam.prepare.size_report import box_sizes

TIMES = label_times(10)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """train a, b and c; val b (other events) and d (those of train a)."""
    root = tmp_path_factory.mktemp("folder") / "raw"
    labels = {"a": make_labels(TIMES), "b": make_labels(TIMES, 0), "c": make_labels(TIMES[3:])}
    for seed, (name, boxes) in enumerate(labels.items()):
        write_recording(root / "train", name, make_events(3000, seed=seed), boxes)
    write_recording(root / "val", "b", make_events(3100, seed=9), labels["b"])
    write_recording(root / "val", "d", make_events(3000, seed=0), labels["c"])
    return root


@pytest.fixture(scope="module")
def prepared(raw):
    prepare_all(raw, raw.parent / "out", Preparation())
    return raw.parent / "out"


SHARED = {("train/b", "val/b"): ["name"], ("train/a", "val/d"): ["events"]}


def test_raw_and_prepared_recordings_say_the_same(raw, prepared):
    before, after = look_into(raw), look_into(prepared)
    for found in (before, after):
        assert found.shared == SHARED and not found.unreadable
        assert {split: len(ones) for split, ones in found.splits.items()} == {
            "train": 3, "val": 2, "test": 0
        }  # fmt: skip
    for split in ("train", "val"):
        one, other = (box_sizes(found.splits[split]) for found in (before, after))
        assert one.resolution == other.resolution == (HEIGHT // 2, WIDTH // 2)
        assert one.frames == other.frames == sum(r.num_frames for r in before.splits[split])
        assert np.array_equal(one.areas, other.areas) and one.areas[0] == 10 * 8
        assert np.array_equal(one.classes, other.classes)


def test_folders_without_a_record_are_compared_by_their_files(prepared, tmp_path):
    copied = tmp_path / "copied"
    for key in ("train/a", "train/b", "val/x"):
        shutil.copytree(prepared / key.replace("val/x", "train/a"), copied / key)
    for record in copied.rglob("preparation.json"):
        record.unlink()
    assert look_into(copied).shared == {("train/a", "val/x"): ["events"]}


def test_what_cannot_be_read_is_named(raw, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_recording(tmp_path / "raw/train", "good", labels=make_labels(TIMES))
    (tmp_path / "raw/train/no_labels_td.h5").touch()
    (tmp_path / "raw/val").mkdir()
    (tmp_path / "raw/val/noise_bbox.npy").write_bytes(b"noise")
    (tmp_path / "raw/val/noise_td.dat").write_bytes(b"noise")
    assert {*look_into(tmp_path / "raw").unreadable} == {"train/no_labels", "val/noise"}
    assert main(["doctor", "data", "--data-root", str(tmp_path / "raw")]) == 1
    said = capsys.readouterr().out
    assert all(fact in said for fact in ("train/no_labels", "val/noise", "Pedestrian", "32x24"))
    assert "1 recordings, 10 labelled frames, 10 boxes, 1.0 a frame" in said
    assert (tmp_path / "work_dirs/box_sizes/raw_train.png").stat().st_size > 1000
    assert main(["data", "--data-root", str(raw)]) == 0
    said = capsys.readouterr().out
    assert "train/a, val/d" in said and "train/b, val/b" in said


@pytest.mark.parametrize("content", ["{", "[]", '{"sources": []}', '{"sources": {"events": 3}}'])
def test_a_record_that_cannot_be_read_leaves_its_recording_out(prepared, tmp_path, content):
    root = shutil.copytree(prepared, tmp_path / "copied")
    (root / "train/b" / layout.RECORD).write_text(content)
    (root / "val/b" / layout.LABELS).write_bytes(b"PK")
    found = look_into(root)
    assert set(found.unreadable) == {"train/b", "val/b"}
    assert layout.RECORD in found.unreadable["train/b"]
    assert {split: len(ones) for split, ones in found.splits.items()} == {
        "train": 2, "val": 1, "test": 0
    }  # fmt: skip
    assert found.shared == {("train/a", "val/d"): ["events"]}


def test_another_class_map_than_that_of_preparation_is_a_sentence(prepared):
    with pytest.raises(EventDataError, match="etram_cls8"):
        look_into(prepared, "person,bike")
