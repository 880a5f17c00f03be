"""The data set of a config: generated and prepared once, and checked before a run."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventcam.dataset import EventRecordings
from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.labels import LabelFilter
from toydata.streets import GeneratedRecordings

SIZES = {"train": 1, "val": 1, "test": 1, "seconds": 0.5, "width": 96, "height": 72}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "street"
    EventRecordings(str(folder), generate=GeneratedRecordings(**SIZES)).recordings("train")
    return folder.parent


@pytest.fixture
def root(generated, tmp_path):
    return shutil.copytree(generated, tmp_path / "data") / "street"


def test_nothing_lies_beside_the_folders(root):
    assert sorted(path.name for path in root.parent.iterdir()) == ["street", "street_raw"]


def test_several_may_begin_at_once(tmp_path):
    def frames(_):
        dataset = EventRecordings(str(tmp_path / "x"), generate=GeneratedRecordings(**SIZES))
        return [len(dataset.recordings(split)) for split in ("train", "val", "test")]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(frames, range(3))) == [[1, 1, 1]] * 3


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_recordings_that_were_left_out_explain_a_missing_split(root, split):
    EventRecordings(str(root)).check({"model.head": 8}, images=0)
    (recording,) = (root / split).iterdir()
    (recording / layout.LABELS).write_bytes(b"PK")
    with pytest.raises(EventDataError, match=f"0 in {split}") as caught:
        EventRecordings(str(root)).check({"model.head": 8}, images=0)
    left_out = f"1 recordings were left out, the first one, {split}/{recording.name}"
    assert left_out in str(caught.value)
    assert f"RAW {root} --downsample nearest --class-map etram_cls8" in str(caught.value)


def test_a_folder_may_have_no_split_test(root):
    shutil.rmtree(root / "test")
    (root / layout.MANIFEST).unlink()  # which lists it
    EventRecordings(str(root)).check({"model.head": 8}, images=0)


def test_recordings_that_cannot_be_used_are_counted_for_the_end_of_the_run(root, tmp_path):
    raw = GeneratedRecordings(**{**SIZES, "train": 4})
    data = EventRecordings(str(tmp_path / "more"), generate=raw)
    assert [len(data.recordings(split)) for split in data.splits] == [4, 1, 1]
    usual = data.findings()
    for recording in data.recordings("train"):
        recording.close()
    labels, cut, gone, _ = sorted((tmp_path / "more/train").iterdir())
    (labels / layout.LABELS).write_bytes(b"PK")
    file = cut / layout.representation_file("nearest")
    file.write_bytes(file.read_bytes()[:-1000])
    shutil.rmtree(gone)
    found = EventRecordings(str(tmp_path / "more")).findings()
    assert found["train"].pop("recordings_left_out") == 3
    assert {k: v for k, v in found.items() if k != "train"} == {
        k: v for k, v in usual.items() if k != "train"
    }
    assert not any("recordings_left_out" in counts for counts in usual.values())


def test_boxes_that_training_leaves_out_explain_a_missing_split(root):
    dataset = EventRecordings(str(root), train_filter=LabelFilter(min_side=70))
    with pytest.raises(EventDataError, match=r"0 in train.* 2 boxes_too_small") as caught:
        dataset.check({"model.head": 8}, images=0)
    assert "dataset.train_filter" in str(caught.value)


def test_heads_of_another_width_are_refused(root):
    with pytest.raises(EventDataError, match="predicts 3 classes"):
        EventRecordings(str(root)).check({"model": 8, "model.head": 3}, images=0)


def test_generated_recordings_with_a_lull_have_steps_known_to_be_empty(tmp_path):
    sizes = {**SIZES, "seconds": 1.5, "lull": 0.45}
    dataset = EventRecordings(str(tmp_path / "street"), generate=GeneratedRecordings(**sizes))
    for split in ("train", "val", "test"):
        (recording,) = dataset.recordings(split)
        assert len(recording.known_empty_steps) >= 2
