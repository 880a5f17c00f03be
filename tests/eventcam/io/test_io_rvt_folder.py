"""Reading prepared folders: ours, those of RVT's own script, and damaged ones."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
from contextlib import closing

import h5py
import numpy as np
import pytest
from event_toys import (
    HEIGHT,
    WIDTH,
    damaged,
    label_times,
    make_events,
    make_labels,
    write_recording,
)

from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.io.rvt_folder import RvtFolder
from eventcam.io.rvt_recording import RvtRecording
from eventcam.labels import LabelFilter
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.recording import Preparation


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A prepared root with two training recordings."""
    folder = tmp_path_factory.mktemp("ours")
    labels = make_labels(label_times(30, 2_000_000))
    times = label_times(30, 2_000_000)
    labels = labels[(times < 900_000) | (times > 1_500_000)]
    write_recording(folder / "raw/train", "b", make_events(3000, 2_000_000), labels)
    write_recording(folder / "raw/train", "a")
    prepare_all(folder / "raw", folder / "out", Preparation(), workers=0)
    return folder / "out"


@pytest.fixture
def published(ours, tmp_path):
    """The same as RVT's own script would leave it, with the usual strays."""
    root = tmp_path / "published"
    shutil.copytree(ours, root)
    (root / layout.MANIFEST).unlink()
    for name in (layout.RECORD, layout.KNOWN_EMPTY, layout.LABEL_GRID):
        for folder in (root / "train").iterdir():
            (folder / name).unlink()
    (root / "train" / "notes.txt").write_text("stray")
    (root / "train" / ".cache").mkdir()
    return root


def test_recordings_are_sorted_and_complete(ours):
    first, second = RvtFolder(ours, "etram_cls8").recordings("train")
    assert (first.name, second.name, second.split) == ("a", "b", "train")
    assert second.shape == (20, HEIGHT // 2, WIDTH // 2) and second.downsample == "nearest"
    assert second.num_steps == len(second.timestamps_us)
    at_frames = second.timestamps_us[second.frame_steps]
    assert np.array_equal(at_frames, second.frame_times_us)
    assert second.num_frames == len(second.frame_times_us)
    assert len(second.known_empty_steps) >= 4 and len(first.known_empty_steps) == 0
    assert RvtFolder(ours, "etram_cls8").recordings("test") == []


def test_representations_are_read_by_slice(ours):
    recording = RvtFolder(ours, "etram_cls8").recordings("train")[1]
    path = recording.folder / layout.representation_file("nearest")
    with h5py.File(path) as file:
        stored = file["data"][:]
    assert np.array_equal(recording.events(3, 9), stored[3:9])
    assert recording.events(4, 4).shape == (0, 20, HEIGHT // 2, WIDTH // 2)
    for start, stop in ((-1, 2), (5, 4), (0, recording.num_steps + 1)):
        with pytest.raises(EventDataError, match="were asked for"):
            recording.events(start, stop)


def test_boxes_are_halved_by_the_published_rule(ours):
    recording = RvtFolder(ours, "etram_cls8").recordings("train")[0]
    boxes, classes = recording.boxes(0)
    assert boxes.dtype == np.float32 and boxes.tolist() == [[5, 4, 15, 12]]
    assert classes.dtype == np.int64 and classes.tolist() == [0]
    assert not recording.left_out


@pytest.fixture
def tiny(tmp_path):
    """Raw recordings in train and val: of ten frames the third has a tiny box besides, the sixth a
    tiny one alone."""
    labels = make_labels(label_times(10, 1_000_000))
    labels["w"][5] = 4
    besides = labels[2:3].copy()
    besides["h"] = 1
    labels = np.insert(labels, 3, besides)
    for split in ("train", "val"):
        write_recording(tmp_path / "raw" / split, "a", labels=labels)
    return tmp_path


def opened(root, **more):
    folder = RvtFolder(root, "etram_cls8", **more)
    return [recording for split in ("train", "val") for recording in folder.recordings(split)]


def test_all_boxes_are_scored_and_training_chooses(tiny, caplog):
    prepare_all(tiny / "raw", tiny / "out", Preparation())
    train, val = opened(tiny / "out", train_filter=LabelFilter())
    assert val.num_frames == 10 and not val.left_out
    assert sum(len(val.boxes(frame)[0]) for frame in range(10)) == 11
    assert len(val.boxes(2)[0]) == 2 and val.boxes(5)[0].tolist() == [[5, 4, 7, 12]]
    # A frame of which nothing is left is not one that is known to be empty.
    assert train.num_frames == 9 and train.left_out == {"boxes_too_small": 2}
    assert [len(train.boxes(frame)[0]) for frame in range(9)] == [1] * 9
    assert val.frame_steps[5] not in train.frame_steps
    assert np.array_equal(train.timestamps_us[train.frame_steps], train.frame_times_us)
    everything, _ = opened(tiny / "out")
    assert everything.num_frames == 10 and "filter" not in caplog.text


def test_folders_that_lack_boxes_are_used_and_said(tiny, caplog):
    older = Preparation(label_filter=LabelFilter())
    prepare_all(tiny / "raw", tiny / "out", older)
    train, val = opened(tiny / "out", train_filter=LabelFilter())
    assert "min_side 5" in caplog.text and "left 2 boxes out of val and test" in caplog.text
    assert "bbox/" in caplog.text
    for recording in (train, val):
        assert recording.num_frames == 9 and recording.left_out == {"boxes_too_small": 2}


def test_a_filter_may_leave_nothing(tiny):
    prepare_all(tiny / "raw", tiny / "out", Preparation())
    train, _ = opened(tiny / "out", train_filter=LabelFilter(min_side=50))
    assert train.num_frames == 0 and train.left_out == {"boxes_too_small": 11}


def checksum(recording):
    return int(recording.events(0, 5).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_recording_can_be_used_in_worker_processes(ours, method):
    recording = RvtFolder(ours, "etram_cls8").recordings("train")[0]
    expected = checksum(recording)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(checksum, [recording]) == [expected]
    recording.close()
    assert checksum(pickle.loads(pickle.dumps(recording))) == checksum(recording) == expected


def test_folders_of_the_published_script_are_used_as_they_are(published, ours):
    found = RvtFolder(published, "etram_cls8").recordings("train")
    wanted = RvtFolder(ours, "etram_cls8").recordings("train")
    assert [r.name for r in found] == ["a", "b"]
    for a, b in zip(found, wanted, strict=True):
        assert a.known_empty_steps is None and np.array_equal(a.frame_steps, b.frame_steps)
        assert np.array_equal(a.boxes(2)[0], b.boxes(2)[0])


def test_another_class_map_is_refused(ours, published):
    with pytest.raises(EventDataError, match="prepared with the class map 'etram_cls8'"):
        RvtFolder(ours, "etram_raw8")
    name = published / "train/a" / layout.LABELS
    with np.load(name) as content:
        arrays = dict(content)
    arrays["labels"]["class_id"][3] = 7
    np.savez(name, **arrays)
    folder = RvtFolder(published, "etram_3groups")
    assert [r.name for r in folder.recordings("train")] == ["b"]
    assert "class id 7, but the class map has only 3" in folder.skipped["train/a"]


def change_labels(**change):
    """Another array under one of the names in ``labels.npz``."""

    def do(folder):
        with np.load(folder / layout.LABELS) as content:
            arrays = dict(content)
        np.savez(
            folder / layout.LABELS,
            **arrays | {name: make(arrays[name].copy()) for name, make in change.items()},
        )

    return do


def with_nan(labels):
    labels["w"][2] = np.nan
    return labels


def as_text(labels):
    return labels.astype([(n, "U9" if n == "x" else labels.dtype[n]) for n in labels.dtype.names])


def change_index(name, change):
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


DAMAGES = {
    "boxes that are not finite": change_labels(labels=with_nan),
    "boxes as text": change_labels(labels=as_text),
    "boxes in rows": change_labels(labels=lambda labels: labels[:, None]),
    "a single number for boxes": change_labels(labels=lambda labels: np.array(3)),
    "objects": change_labels(labels=lambda labels: labels.astype(object)),
    "starts of frames that go back": change_labels(objframe_idx_2_label_idx=lambda s: s[::-1]),
    "starts beyond the boxes": change_labels(objframe_idx_2_label_idx=lambda s: s + 1000),
    "starts behind the first box": change_labels(objframe_idx_2_label_idx=lambda s: s + 1),
    "starts as floats": change_labels(objframe_idx_2_label_idx=lambda s: s + 0.5),
    "starts in rows": change_labels(objframe_idx_2_label_idx=lambda s: s[None]),
    "frames as text": change_index(layout.FRAME_STEPS, lambda steps: steps.astype(str)),
    "frames as floats": change_index(layout.FRAME_STEPS, lambda steps: steps * np.nan),
    "frames in rows": change_index(layout.FRAME_STEPS, lambda steps: steps[:, None]),
    "one frame": change_index(layout.FRAME_STEPS, lambda steps: steps[0]),
    "frames that go back": change_index(layout.FRAME_STEPS, lambda steps: steps[::-1]),
    "large frames": change_index(layout.FRAME_STEPS, lambda s: s.astype("u8") + np.uint64(2**63)),
    "complex times": change_index(layout.FRAME_TIMES, lambda times: times + 1j),
    "times as text": change_index(layout.WINDOW_ENDS, lambda times: times.astype("S9")),
    "times that go back": change_index(layout.WINDOW_ENDS, lambda times: times[::-1]),
    "empty beyond the end": lambda f: np.save(f / layout.KNOWN_EMPTY, np.array([1, 9999])),
    "empty as text": lambda f: np.save(f / layout.KNOWN_EMPTY, np.array(["a"])),
    "missing representations": lambda f: (f / layout.representation_file("nearest")).unlink(),
    "cut representations": lambda f: (f / layout.representation_file("nearest")).write_bytes(b"x"),
    "cut labels": lambda f: (f / layout.LABELS).write_bytes(b"PK"),
    "cut times": lambda f: (f / layout.WINDOW_ENDS).write_bytes(b""),
    "other times": lambda f: np.save(f / layout.WINDOW_ENDS, np.arange(3)),
    "frames outside": lambda f: np.save(f / layout.FRAME_STEPS, np.arange(10) + 90),
    "other data": lambda f: h5py.File(f / layout.representation_file("nearest"), "w").close(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_recordings_are_named_and_left_out(published, damage):
    DAMAGES[damage](published / "train/a")
    folder = RvtFolder(published, "etram_cls8")
    assert [r.name for r in folder.recordings("train")] == ["b"]
    assert str(published / "train/a") in folder.skipped["train/a"]
    assert len(folder.skipped["train/a"]) < 500


def test_a_recording_that_has_vanished_is_named(ours, tmp_path, caplog):
    root = tmp_path / "moved"
    shutil.copytree(ours, root)
    shutil.rmtree(root / "train/a")
    folder = RvtFolder(root, "etram_cls8")
    assert [r.name for r in folder.recordings("train")] == ["b"]
    assert str(root / "train/a") in folder.skipped["train/a"]
    assert str(root / "train/a") in caplog.text
    assert folder.recordings("val") == [] and [*folder.skipped] == ["train/a"]


@pytest.mark.parametrize(
    "content",
    [
        {"settings": []},
        {"settings": {"class_map": 3}},
        {"recordings": ["train/a"]},
        {"recordings": {"train/a": {"dropped_or_changed": 7}}},
        {"settings": {"class_map": "etram_cls8", "label_filter": "all"}},
        {"settings": {"class_map": "etram_cls8", "downsample": []}},
    ],
)
def test_an_odd_manifest_is_a_sentence(ours, tmp_path, content):
    root = tmp_path / "odd"
    shutil.copytree(ours, root)
    settings = {"settings": {"class_map": "etram_cls8"}}
    (root / layout.MANIFEST).write_text(json.dumps(settings | content))
    with pytest.raises(EventDataError, match=str(root)):
        RvtFolder(root, "etram_cls8", "nearest")


@pytest.mark.filterwarnings("ignore")  # numpy's about odd numbers
def test_damaged_bytes_end_in_a_sentence(published):
    rng = np.random.default_rng(3)
    files = sorted(p for p in (published / "train/a").rglob("*") if p.is_file())
    for path in files * 8:
        content = path.read_bytes()
        path.write_bytes(damaged(content, rng))
        folder = RvtFolder(published, "etram_cls8")
        names = [recording.name for recording in folder.recordings("train")]
        assert "b" in names and ("a" in names) != ("train/a" in folder.skipped)
        assert all(str(published / "train/a") in text for text in folder.skipped.values())
        for recording in folder.recordings("train"):
            try:
                with closing(recording):
                    recording.events(0, recording.num_steps)
            except EventDataError as error:  # any other error fails the test
                assert recording.name == "a" and str(published / "train/a") in str(error)
        path.write_bytes(content)


def test_several_kinds_of_representations_must_be_chosen_from(published):
    folder = published / "train/a"
    nearest, summed = (folder / layout.representation_file(kind) for kind in ("nearest", "sum"))
    shutil.copy(nearest, summed)
    with pytest.raises(EventDataError, match="Name one of them"):
        RvtRecording(folder, 8)
    assert RvtRecording(folder, 8, "sum").downsample == "sum"
    with pytest.raises(EventDataError, match="asked for was none"):
        RvtRecording(folder, 8, "none")


def test_a_folder_without_recordings_is_refused(tmp_path):
    command = f"prepare_events.py RAW {tmp_path} --downsample sum --class-map etram_cls8"
    with pytest.raises(EventDataError, match=command):
        RvtFolder(tmp_path, "etram_cls8", "sum")


def test_another_way_to_half_resolution_is_refused(ours):
    assert len(RvtFolder(ours, "etram_cls8", "nearest").recordings("train")) == 2
    with pytest.raises(EventDataError, match="downsample 'nearest', but 'sum' is asked for"):
        RvtFolder(ours, "etram_cls8", "sum")


def test_class_ids_of_a_folder_without_a_manifest_are_a_warning(published, ours, caplog):
    RvtFolder(ours, "etram_cls8")
    assert not caplog.text
    RvtFolder(published, "etram_cls8")
    assert "class map etram_cls8 (0 Car, 1 Truck," in caplog.text
    assert "dataset.class_map=etram_raw8" in caplog.text
