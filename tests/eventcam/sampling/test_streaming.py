"""The schedules of streams: every span once per epoch, repeatable from any step."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

import pytest

from eventcam.sampling.streams import play_streams

COUNTS = [7, 1, 4, 12, 3]


def play(streams, count, start=0, counts=COUNTS, seed=0):
    return list(islice(play_streams(counts, streams, seed, start), count))


@pytest.mark.parametrize("streams", [1, 2, 3, 8])
def test_each_epoch_plays_every_chunk_once(streams):
    played = Counter(place for step in play(streams, 120) for place in step)
    assert set(played.values()) == {1}
    assert {p.play // len(COUNTS) for p in played} >= {0, 1, 2}
    for epoch in range(3):
        found = [(p.span, p.chunk) for p in played if p.play // len(COUNTS) == epoch]
        assert sorted(found) == [(s, c) for s, n in enumerate(COUNTS) for c in range(n)]


@pytest.mark.parametrize("streams", [1, 3, 8])
def test_a_stream_plays_spans_whole_and_in_order(streams):
    steps = play(streams, 60)
    for stream in range(streams):
        places = [step[stream] for step in steps]
        assert places[0].chunk == 0
        for before, after in pairwise(places):
            ended = before.chunk == COUNTS[before.span] - 1
            expected = 0 if ended else before.chunk + 1
            assert after.chunk == expected
            assert ended or after.play == before.play


@pytest.mark.parametrize("streams", [1, 3, 8])
def test_any_start_gives_the_same_steps(streams):
    steps = play(streams, 60)
    for start in (1, 2, 17, 42):
        assert play(streams, 60 - start, start) == steps[start:]


def test_order_depends_on_seed_and_epoch():
    assert play(2, 40) == play(2, 40)
    assert play(2, 40) != play(2, 40, seed=1)
    queue = [p.span for (p,) in play(1, 4 * sum(COUNTS)) if p.chunk == 0]
    epochs = {tuple(queue[i : i + len(COUNTS)]) for i in range(0, len(queue), len(COUNTS))}
    assert len(epochs) > 1


def test_a_far_start_is_quick_to_reach():
    (step,) = play(6, 1, start=100_000, counts=[20] * 50)
    assert len(step) == 6
