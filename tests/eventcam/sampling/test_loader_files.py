"""The loaders over files on disk: each is opened once by each process that reads it."""

from __future__ import annotations

import os
import shutil
from collections import Counter

import pytest
from event_toys import label_times, make_events, make_labels, write_recording
from sequence_toys import flat, steps

from eventcam.errors import EventDataError
from eventcam.io import rvt_recording
from eventcam.io.rvt_folder import RvtFolder
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.recording import Preparation
from eventcam.sampling import sequences
from eventcam.sampling.eval_loader import build_sequence_eval_loader
from eventcam.sampling.schedule import SAMPLINGS, SamplingSettings
from eventcam.sampling.train_loader import build_sequence_train_loader

RECORDINGS, LENGTH, STREAMS = 3, 2, 2


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Recordings of different lengths, 14 steps and more, so of many chunks."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(RECORDINGS):
        last_us = 700_000 + 200_000 * number
        events, labels = make_events(2000, last_us), make_labels(label_times(30, last_us))
        for split in ("train", "val"):
            write_recording(folder / "raw" / split, str(number), events, labels)
    prepare_all(folder / "raw", folder / "out", Preparation(), workers=0, progress=False)
    return folder / "out"


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Counts how often each process has opened each file; worker processes are forked."""
    log, really_open = tmp_path / "opened.txt", rvt_recording.open_h5

    def open_h5(path):
        with log.open("a") as file:
            file.write(f"{os.getpid()} {path}\n")
        return really_open(path)

    monkeypatch.setattr(rvt_recording, "open_h5", open_h5)

    def count():
        found = Counter(log.read_text().splitlines() if log.exists() else [])
        log.unlink(missing_ok=True)
        return found

    return count


def opened_once(found, workers):
    """Every file by every process that had chunks of it, and by none twice."""
    files = {line.split(" ", 1)[1] for line in found}
    assert len(files) == RECORDINGS and set(found.values()) == {1}
    assert len({line.split()[0] for line in found}) == max(workers, 1)


def train_loader(root, mode, workers):
    sampling = SamplingSettings(mode=mode)
    recordings = RvtFolder(root, "etram_cls8").recordings("train")
    return build_sequence_train_loader(recordings, sampling, LENGTH, STREAMS, STREAMS, workers)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("mode", SAMPLINGS)
def test_training_opens_each_file_once(root, opened, mode, workers):
    loader = train_loader(root, mode, workers)
    assert set(opened().values()) == {1}  # to know its length
    batches = iter(loader)
    count = 0
    while loader.epoch < 2:
        next(batches)
        count += 1
    assert count > 3 * RECORDINGS * max(workers, 1)
    opened_once(opened(), workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_opens_each_file_once(root, opened, workers):
    recordings = RvtFolder(root, "etram_cls8").recordings("val")
    loader = build_sequence_eval_loader(recordings, LENGTH, STREAMS, workers)
    assert set(opened().values()) == {1}
    first, again = ([list(s["image_ids"]) for s in flat(list(loader))] for _ in range(2))
    assert first == again and len(first) > 3 * RECORDINGS * max(workers, 1)
    opened_once(opened(), workers)


def test_with_more_recordings_than_files_may_be_open_each_play_opens_once(
    root, opened, monkeypatch
):
    monkeypatch.setattr(sequences, "_MAX_OPEN", STREAMS)
    loader = train_loader(root, "streaming", 0)
    opened()
    samples = list(flat(steps(loader, 100)))
    plays = sum(sample["is_first"] for sample in samples)
    assert RECORDINGS < sum(opened().values()) <= plays < len(samples) / 5


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("damage", [os.unlink, lambda path: os.truncate(path, 3000)])
def test_a_file_that_goes_while_training_ends_it_with_its_name(root, tmp_path, workers, damage):
    copied = shutil.copytree(root, tmp_path / "copied")
    loader = train_loader(copied, "random", workers)
    for path in (copied / "train").rglob("*.h5"):
        damage(path)
    with pytest.raises(EventDataError, match=r"train/\d/.*cannot be read as HDF5"):
        next(iter(loader))
