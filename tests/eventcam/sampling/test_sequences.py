"""Samples of recordings, as DESIGN.md describes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sequence_toys import CHANNELS, HEIGHT, WIDTH, FakeRecording, dataset, same

from eventcam.errors import EventDataError
from eventcam.sampling import sequences as module
from eventcam.sampling.sequences import Chunk, Sequences


def sample(recordings, chunk, length=4, **options):
    return Sequences(recordings, length, **options)[Chunk(*chunk, is_first=True, stream=3)]


RECORDINGS = [FakeRecording("a", 10, [3, 7], [5]), FakeRecording("b", 6, [0, 4])]


def test_a_sample_holds_what_the_contract_says():
    found = sample(RECORDINGS, (0, 3, 7))
    assert found["events"].shape == (4, CHANNELS, HEIGHT, WIDTH)
    assert found["events"].dtype == torch.uint8
    assert found["events"][:, 0, 0, 0].tolist() == [3, 4, 5, 6]
    assert found["boxes"][0].tolist() == [[1, 2, 7, 7]] and found["classes"][0].tolist() == [0]
    assert found["boxes"][2].shape == (0, 4) and found["classes"][2].shape == (0,)
    assert [b is None for b in found["boxes"]] == [False, True, False, True]
    assert [c is None for c in found["classes"]] == [False, True, False, True]
    assert found["boxes"][2].dtype == torch.float32 and found["classes"][2].dtype == torch.int64
    assert found["image_ids"].tolist() == [3, -1, 5, -1]
    assert found["timestamps_us"].tolist() == [200_000, 250_000, 300_000, 350_000]
    assert not found["padded"].any()
    assert found["is_first"] is True and found["stream"] == 3 and found["dropped_boxes"] == 0
    assert found["clipped_boxes"] == 0


def test_the_end_of_a_recording_is_padded():
    found = sample(RECORDINGS, (1, 4, 6))
    assert found["padded"].tolist() == [False, False, True, True]
    assert found["events"][:, 0, 0, 0].tolist() == [4, 5, 0, 0]
    assert found["image_ids"].tolist() == [10 + 4, -1, -1, -1]
    assert found["timestamps_us"].tolist() == [250_000, 300_000, -1, -1]
    assert len(found["boxes"]) == len(found["classes"]) == 4
    assert found["boxes"][0] is not None and found["boxes"][1:] == [None] * 3


def test_padding_only():
    found = sample(RECORDINGS, (0, 0, 0))
    assert found["padded"].all() and not found["events"].any()
    assert found["events"].shape == (4, CHANNELS, HEIGHT, WIDTH)
    assert found["boxes"] == [None] * 4 and found["image_ids"].tolist() == [-1] * 4


def test_without_known_empty_steps_they_are_unlabelled():
    found = sample(RECORDINGS, (0, 3, 7), known_empty=False)
    assert found["boxes"][2] is None and found["image_ids"].tolist() == [3, -1, -1, -1]


def test_image_ids_do_not_depend_on_length_or_labels():
    recordings = dataset()
    for length in (1, 3, 7):
        for known_empty in (True, False):
            found = sample(recordings, (2, 14, 15), length, known_empty=known_empty)
            assert found["image_ids"][0] == 23 + 9 + 14


def test_few_files_stay_open(monkeypatch):
    monkeypatch.setattr(module, "_MAX_OPEN", 2)
    recordings = dataset()
    found = Sequences(recordings, 3)
    before = [r.closed for r in recordings]
    for number in (0, 1, 0, 2, 3):
        found[Chunk(number, 0, 3, True, 0)]
    assert np.subtract([r.closed for r in recordings], before).tolist() == [1, 1, 0, 0, 0]


def test_samples_are_copies():
    found = Sequences(RECORDINGS, 4)
    chunk = Chunk(0, 3, 7, True, 0)
    first = found[chunk]
    for value in (first["timestamps_us"], first["events"], first["boxes"][0]):
        value.add_(1)
    assert same(found[chunk], Sequences(RECORDINGS, 4)[chunk])


@pytest.mark.parametrize(
    ("recordings", "length", "message"),
    [
        ([], 3, "no prepared recording"),
        (RECORDINGS, 0, "at least 1 step"),
        ([*RECORDINGS, FakeRecording("c", 5, shape=(20, 24, 32))], 3, "different sizes"),
    ],
)
def test_errors_are_sentences(recordings, length, message):
    with pytest.raises(EventDataError, match=message):
        Sequences(recordings, length)
