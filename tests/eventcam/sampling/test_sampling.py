"""Spans, chunks and windows against the published ones, and hostile recordings."""

from __future__ import annotations

import numpy as np
import pytest
from event_toys import golden

from eventcam.sampling.spans import (
    Span,
    enough_spans,
    labelled_spans,
    random_state,
    whole_span,
    windows,
)
from eventcam.sampling.streams import evaluation_slots

ARRAYS, META = golden("sampling")
LENGTH = META["sequence_length"]
NONE = np.zeros(0, np.int64)


def chunks(spans):
    """Number of the span, start and stop of every chunk."""
    parts = [Span(i, *span) for i, span in enumerate(spans)]
    return [[p.recording, *p.chunk(i, LENGTH)] for p in parts for i in range(p.chunks(LENGTH))]


@pytest.mark.parametrize("name", ["seq0", "seq1", "seq2", "seq3"])
def test_published_sampling(name):
    labelled = ARRAYS[f"{name}/objframe_idx_2_repr_idx"]
    steps = int(ARRAYS[f"{name}/num_ev_repr"])
    spans = labelled_spans(labelled, LENGTH)
    assert np.array_equal(spans, ARRAYS[f"{name}/range_indices"])
    assert np.array_equal(chunks(spans), ARRAYS[f"{name}/train_stream_chunks"])
    whole = chunks([whole_span(labelled, steps, LENGTH)])
    assert np.array_equal(np.array(whole)[:, 1:], ARRAYS[f"{name}/eval_stream_chunks"])
    found = windows(labelled, steps, LENGTH)
    assert np.array_equal(found, ARRAYS[f"{name}/random_windows"])


def test_published_sharding():
    lengths = ARRAYS["shard/lengths_sorted_desc"].tolist()
    workers, streams = META["shard"]["num_workers"], META["shard"]["batch_size"]
    spans = [Span(i, 0, length) for i, length in enumerate(lengths)]
    found = []
    for rank in range(workers):
        slots = evaluation_slots(spans, streams, rank, workers)
        found += [[rank, slot, span.recording] for slot in range(streams) for span in slots[slot]]
    assert played_by(found) == played_by(ARRAYS["shard/worker_slot_seq"].tolist())


def played_by(rows: list[list[int]]) -> dict[tuple[int, int], list[int]]:
    """Recordings in the order of playing, by process and stream."""
    played: dict[tuple[int, int], list[int]] = {}
    for rank, slot, recording in rows:
        played.setdefault((rank, slot), []).append(recording)
    return played


def test_every_chunk_of_a_labelled_span_has_a_label():
    rng = np.random.RandomState(0)
    for _ in range(50):
        labelled = np.flatnonzero(rng.random_sample(80) < 0.2)
        length = int(rng.randint(1, 9))
        parts = [Span(0, *span) for span in labelled_spans(labelled, length)]
        played = [p.chunk(i, length) for p in parts for i in range(p.chunks(length))]
        counts = [np.count_nonzero((labelled >= a) & (labelled < b)) for a, b in played]
        assert min(counts) > 0 and sum(counts) == len(labelled)
        assert all(a < b for a, b in played)


def test_a_recording_without_labels():
    assert labelled_spans(NONE, 5) == []
    assert whole_span(NONE, 12, 5) == (0, 12)
    assert windows(NONE, 12, 5) == []


def test_recordings_shorter_than_a_sequence_give_one_window():
    assert windows(np.array([1, 2]), 4, 9) == [(0, 4)]
    assert windows(np.array([0]), 1, 5) == [(0, 1)]
    assert labelled_spans(np.array([0]), 5) == [(0, 1)]
    # Long enough, but the only label comes too early for a full window before it.
    assert windows(np.array([1]), 30, 5) == [(0, 5)]


def test_stride_thins_the_windows_out():
    labelled = np.arange(0, 40)
    assert len(windows(labelled, 40, 4)) == 37
    ends = [stop for _, stop in windows(labelled, 40, 4, stride=5)]
    assert np.diff(ends).tolist() == [5] * 7


def test_halving_spans_keeps_every_step():
    spans = [Span(0, 3, 50), Span(1, 0, 4)]
    for wanted in range(1, 20):
        parts = enough_spans(spans, 5, wanted)
        assert len(parts) == min(max(wanted, 2), 11)  # 10 + 1 chunks
        covered = [(p.recording, step) for p in parts for step in range(p.start, p.stop)]
        assert covered == [(s.recording, step) for s in spans for step in range(s.start, s.stop)]
        assert sum(p.chunks(5) for p in parts) == 11
    assert enough_spans([], 5, 3) == []


def test_random_state_depends_on_every_word():
    seeds = [(0,), (0, 0), (0, 1), (1, 0), (2**32, 0), (0, 2**32), (-1, 0)]
    drawn = {random_state(*words).random_sample() for words in seeds}
    assert len(drawn) == len(seeds)
    assert random_state(3, 4).random_sample() == random_state(3, 4).random_sample()
