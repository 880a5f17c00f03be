"""Folders that RVT's authors offer, or their script makes, are used as they are.

They are written here by h5py and numpy alone, as the layout is described; nothing of ours is used.
"""

from __future__ import annotations

import logging
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from eventcam.dataset import EventRecordings
from eventcam.sampling.eval_loader import build_sequence_eval_loader
from eventcam.sampling.schedule import SamplingSettings
from eventcam.sampling.train_loader import build_sequence_train_loader

LABEL = np.dtype(
    {
        "names": ["t", "x", "y", "w", "h", "class_id", "track_id", "class_confidence"],
        "formats": ["<i8", "<f4", "<f4", "<f4", "<f4", "<u4", "<u4", "<f4"],
        "offsets": [0, 8, 12, 16, 20, 24, 28, 32],
        "itemsize": 40,
    }
)
KINDS = {  # class map, downsample, file, sensor, representation, steps between frames, classes
    "gen1": ("gen1_2classes", "none", "", (240, 304), (240, 304), 5, 2),
    "gen4": ("gen4_3classes", "nearest", "_ds2_nearest", (720, 1280), (360, 640), 2, 3),
}
STEPS, FIRST = 24, 3  # representations; the first labelled one


def write_recording(folder: Path, kind: str) -> np.ndarray:
    """One recording; returns its boxes, two a frame, one of which ends at the border."""
    _, _, suffix, (height, width), shape, between, classes = KINDS[kind]
    rng = np.random.default_rng(len(folder.name))
    ends = 50_000 * np.arange(2, STEPS + 2)
    frames = np.arange(FIRST, STEPS, between)
    labels = np.zeros(2 * len(frames), LABEL)
    labels["t"] = np.repeat(ends[frames], 2)
    labels["x"] = rng.integers(0, width // 2, len(labels))
    labels["y"] = rng.integers(0, height // 2, len(labels))
    labels["w"], labels["h"], labels["class_confidence"] = width // 4, height // 4, 1
    labels["w"][::2] = width - 1 - labels["x"][::2]
    labels["class_id"] = np.arange(len(labels)) % classes
    (folder / "labels_v2").mkdir(parents=True)
    starts = np.arange(0, len(labels), 2)
    np.savez(folder / "labels_v2/labels.npz", labels=labels, objframe_idx_2_label_idx=starts)
    np.save(folder / "labels_v2/timestamps_us.npy", ends[frames])
    events = folder / "event_representations_v2/stacked_histogram_dt=50_nbins=10"
    events.mkdir(parents=True)
    np.save(events / "timestamps_us.npy", ends)
    np.save(events / "objframe_idx_2_repr_idx.npy", frames)
    blosc = hdf5plugin.Blosc(cname="zstd", clevel=1, shuffle=hdf5plugin.Blosc.SHUFFLE)
    with h5py.File(events / f"event_representations{suffix}.h5", "w") as file:
        size = (STEPS, 20, *shape)
        data = file.create_dataset(
            "data", size, "u1", chunks=(1, *size[1:]), maxshape=(None, *size[1:]), **blosc
        )
        for step in range(STEPS):
            data[step, step % 20, step] = 1 + step % 10
    return labels


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    kind = request.param
    labels = {
        f"{split}/{name}": write_recording(tmp_path / kind / split / name, kind)
        for split, name in (("train", "a"), ("train", "bb"), ("val", "c"), ("test", "d"))
    }
    class_map, downsample, *_ = KINDS[kind]
    data = EventRecordings(str(tmp_path / kind), class_map, downsample, train_filter="published")
    return kind, data, labels


def test_they_are_read_without_a_word(folder, caplog):
    kind, data, labels = folder
    *_, (height, _), shape, between, classes = KINDS[kind]
    data.check({"model.head": classes}, images=2 * len(range(FIRST, STEPS, between)))
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not warned  # these ids are those of the class map
    recording = data.recordings("test")[0]
    assert recording.shape == (20, *shape) and recording.num_steps == STEPS
    assert recording.known_empty_steps is None
    assert recording.frame_steps.tolist() == list(range(FIRST, STEPS, between))
    histogram = recording.events(FIRST, FIRST + 1)[0]
    assert histogram[FIRST, FIRST].tolist() == [1 + FIRST] * shape[1]
    assert histogram.sum() == (1 + FIRST) * shape[1]
    stored, scale = labels["test/d"], shape[0] / height
    boxes, found = recording.boxes(0)
    assert found.tolist() == stored["class_id"][:2].tolist()
    corners = np.stack([stored["x"], stored["y"]], 1)[:2] * scale
    assert np.array_equal(boxes[:, :2], corners)
    assert boxes[0, 2] == shape[1] - 1  # at half resolution, too


def test_they_are_trained_on_and_scored(folder):
    kind, data, _ = folder
    shape, between = KINDS[kind][4:6]
    train = data.recordings("train")
    sampling = SamplingSettings(mode="mixed", random_augment=None, stream_augment=None)
    loader = build_sequence_train_loader(train, sampling, 5, 2, 2, 0, rank=0, world_size=1)
    (batch,) = next(iter(loader))
    assert [tuple(sample["events"].shape) for sample in batch] == [(5, 20, *shape)] * 2
    assert all(any(boxes is not None for boxes in sample["boxes"]) for sample in batch)
    samples = build_sequence_eval_loader(data.recordings("test"), 5, 1, rank=0, world_size=1)
    labelled = sum(
        boxes is not None for batch in samples for one in batch for boxes in one["boxes"]
    )
    assert labelled == len(range(FIRST, STEPS, between))


def test_the_test_split_is_enough_for_an_evaluation(tmp_path):
    write_recording(tmp_path / "gen1/test/d", "gen1")
    data = EventRecordings(str(tmp_path / "gen1"), "gen1_2classes", "none")
    data.check({"model.head": 2}, images=None)
    with pytest.raises(ValueError, match=r"0 in train, 0 in val, \d+ in test"):
        data.check({"model.head": 2}, images=0)
