"""Training and evaluation loaders: repeatable, complete, safe with small sets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sequence_toys import HEIGHT, FakeRecording, dataset, flat, same, steps, train_loader

from eventcam.augment.sequence import AugmentSettings
from eventcam.errors import EventDataError
from eventcam.sampling import train_loader as train_loader_module
from eventcam.sampling.eval_loader import build_sequence_eval_loader
from eventcam.sampling.schedule import SAMPLINGS, SamplingSettings, training_spans
from eventcam.sampling.sequences import Sequences

LABELLED = {0: 23, 23: 9, 32: 40, 72: 12, 84: 31}  # first image id and steps of each recording
IMAGES = [first + step for first, count in LABELLED.items() for step in range(0, count, 2)]


def image_ids(samples):
    return [i for s in samples for i in s["image_ids"].tolist() if i >= 0]


def evaluate(batch_size=2, data=None, length=4, **options):
    return build_sequence_eval_loader(data or dataset(), length, batch_size, **options)


@pytest.mark.parametrize("mode", SAMPLINGS)
def test_workers_do_not_change_the_batches(mode):
    reference = steps(train_loader(mode), 6)
    for workers in (1, 2):
        assert same(steps(train_loader(mode, num_workers=workers), 6), reference)
    assert not same(steps(train_loader(mode, seed=1), 6), reference)


@pytest.mark.parametrize("mode", SAMPLINGS)
@pytest.mark.parametrize("workers", [0, 2])
def test_seek_equals_uninterrupted(mode, workers):
    reference = steps(train_loader(mode), 23)
    loader = train_loader(mode, num_workers=workers)
    loader.seek(17 * 4)
    assert same(steps(loader, 3), reference[17:20])
    assert same(steps(loader, 3), reference[20:23]) and loader.samples_seen == 23 * 4
    loader.seek(0)
    assert same(steps(loader, 2), reference[:2])


@pytest.mark.parametrize("mode", SAMPLINGS)
def test_processes_and_micro_batches_only_divide_the_batch(mode):
    reference = [list(flat(step)) for step in steps(train_loader(mode, micro=4), 5)]
    for world, micro in ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1)):
        loaders = [
            train_loader(mode, micro=micro, rank=rank, world_size=world) for rank in range(world)
        ]
        for expected, *parts in zip(reference, *(steps(x, 5) for x in loaders), strict=True):
            assert same(list(flat(parts)), expected)
            assert all(len(batch) == micro for part in parts for batch in part)


def test_a_stream_stays_in_its_place_and_continues():
    expected = [None] * 4
    for step in steps(train_loader(stream_augment=None), 60):
        for place, sample in enumerate(flat(step)):
            assert sample["stream"] == place
            values = sample["events"][:, 0, 0, 0]
            now = int(sample["timestamps_us"][0])
            assert now == 50_000 * (int(values[0]) + 1)
            assert sample["is_first"] or now == expected[place]
            expected[place] = int(sample["timestamps_us"].max()) + 50_000


@pytest.mark.parametrize(("total", "play_gaps"), [(1, False), (1, True), (3, False), (9, False)])
def test_streaming_shows_each_labelled_frame_once_per_epoch(total, play_gaps):
    loader = train_loader(total=total, micro=1, play_gaps=play_gaps)
    schedule = loader.schedule
    samples = list(flat(steps(loader, 45)))
    plays = {}  # each pass of a span is known by when its stream began it
    begun = {}
    for step, sample in enumerate(samples):
        if sample["is_first"]:
            begun[sample["stream"]] = step
        plays.setdefault(begun[sample["stream"]], []).append(sample)
    queue = [image_ids(plays[begin]) for begin in sorted(plays)]
    first_epoch = queue[: len(schedule.spans)]
    assert sorted(itertools.chain(*first_epoch)) == IMAGES
    assert schedule.samples_per_epoch >= len(schedule.spans)


def test_the_first_epoch_of_one_stream_ends_on_time():
    loader = train_loader(total=1, micro=1)
    count = int(loader.schedule.samples_per_epoch)
    assert sorted(image_ids(flat(steps(loader, count)))) == IMAGES
    assert loader.epoch == 1


def test_random_epochs_hold_each_window_once():
    loader = train_loader("random", total=1, micro=1, random_augment=None)
    count = int(loader.schedule.samples_per_epoch)
    for _ in range(2):
        samples = list(flat(steps(loader, count)))
        ends = [int(s["image_ids"][-1]) for s in samples]
        fitting = [i for i in IMAGES if i not in LABELLED]  # the first step has none before it
        assert sorted(ends) == fitting
        assert all(s["is_first"] and not s["padded"].any() for s in samples)
    assert ends != sorted(ends)


@pytest.mark.parametrize(
    ("share", "random"), [(0.5, [True, False] * 3), (0.01, [True] + [False] * 5)]
)
def test_mixed_batches_have_both_kinds_spread_evenly(share, random):
    loader = train_loader("mixed", total=6, micro=2, random_share=share)
    places = [[sample["is_first"] for sample in flat(step)] for step in steps(loader, 30)]
    assert [all(place) for place in zip(*places, strict=True)] == random


class Slope(FakeRecording):
    """Values that rise from left to right."""

    def events(self, start, stop):
        row = np.arange(1, self.shape[2] + 1, dtype=np.uint8)
        return np.broadcast_to(row, (stop - start, *self.shape)).copy()


def test_augmentation_is_the_same_until_a_recording_ends():
    data = [Slope("a", 30, range(30))]
    kinds = []
    for sample in flat(steps(train_loader(data=data, total=1, micro=1), 100)):
        if sample["is_first"]:
            kinds.append(set())
        middle = sample["events"][0, 0, HEIGHT // 2]
        lit = middle[middle > 0]
        kinds[-1].add((bool(lit[0] > lit[-1]), len(lit)))
    assert len(kinds) == 10 and all(len(kind) == 1 for kind in kinds)
    assert {flipped for kind in kinds for flipped, _ in kind} == {True, False}
    assert len({size for kind in kinds for _, size in kind}) > 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("world", "batch_size"), [(1, 1), (1, 3), (2, 2), (4, 2)])
def test_evaluation_shows_every_image_once(world, batch_size, workers):
    found = []
    for rank in range(world):
        loader = evaluate(batch_size, num_workers=workers, rank=rank, world_size=world)
        batches = list(loader)
        assert len(batches) == len(loader)
        assert all(len(batch) == batch_size for batch in batches)
        own = image_ids(flat(batches))
        assert not set(own) & set(found)
        found += own
    assert sorted(found) == IMAGES


def test_evaluation_pads_streams_that_have_ended():
    samples = list(flat(evaluate(5)))
    padding = [s for s in samples if s["padded"].all()]
    assert padding and all(s["boxes"] == [None] * 4 for s in padding)
    for stream in range(5):
        ended = [bool(s["padded"].all()) for s in samples if s["stream"] == stream]
        assert ended == sorted(ended)


def test_evaluation_continues_streams():
    for batch_size in (1, 2):
        expected = {}
        for sample in flat(evaluate(batch_size)):
            values = sample["timestamps_us"][~sample["padded"]].tolist()
            assert sample["is_first"] or values[0] == expected[sample["stream"]]
            expected[sample["stream"]] = values[-1] + 50_000 if values else None


@pytest.mark.parametrize(("limit", "expected"), [(0, []), (3, IMAGES[:3]), (14, IMAGES[:14])])
def test_evaluation_limit(limit, expected):
    loader = evaluate(2, limit=limit)
    assert sorted(image_ids(flat(loader))) == expected
    assert len(loader) <= 6


HOSTILE = {
    "one_recording": [FakeRecording("a", 30, range(0, 30, 2))],
    "one_step": [FakeRecording("a", 1, [0])],
    "shorter_than_a_sequence": [FakeRecording("a", 2, [1]), FakeRecording("b", 1, [0])],
    "only_known_empty": [FakeRecording("a", 12, [], [3, 9])],
    "one_without_labels": [FakeRecording("a", 12), FakeRecording("b", 9, [4])],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("mode", SAMPLINGS)
@pytest.mark.parametrize("workers", [0, 2])
def test_small_sets_never_hang(name, mode, workers):
    loader = train_loader(mode, total=4, micro=2, data=HOSTILE[name], num_workers=workers)
    for step in steps(loader, 8):
        assert [len(batch) for batch in step] == [2, 2]
        assert all(image_ids([sample]) for sample in flat(step))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("workers", [0, 2])
def test_small_sets_are_evaluated(name, workers):
    data = HOSTILE[name]
    images = sum(len(labelled) for labelled in Sequences(data, 3).labelled)
    assert len(image_ids(flat(evaluate(3, data, num_workers=workers)))) == images


def test_recordings_without_any_label():
    data = [FakeRecording("a", 10), FakeRecording("b", 4)]
    for mode in SAMPLINGS:
        with pytest.raises(EventDataError, match="has a labelled step"):
            train_loader(mode, data=data)
    loader = train_loader(data=data, play_gaps=True, total=2)
    samples = list(flat(steps(loader, 10)))
    assert image_ids(samples) == [] and all(s["events"].any() for s in samples)
    assert list(evaluate(2, data)) == []


def test_label_gaps_are_played_or_cut():
    data = [FakeRecording("a", 60, [2, 50])]
    cut = train_loader(data=data, total=1, micro=1)
    whole = train_loader(data=data, total=1, micro=1, play_gaps=True)
    assert [tuple(s) for s in cut.schedule.spans] == [(0, 0, 3), (0, 48, 51)]
    assert [tuple(s) for s in whole.schedule.spans] == [(0, 0, 60)]
    free = [s for s in flat(steps(whole, 20)) if not image_ids([s])]
    assert len(free) == 18 and not any(s["padded"].any() for s in free)


def test_few_recordings_are_cut_into_enough_spans(caplog):
    data = [FakeRecording("a", 30, range(30))]
    spans = training_spans(Sequences(data, 3), SamplingSettings(), 4)
    assert [(s.start, s.stop) for s in spans] == [(0, 6), (6, 15), (15, 21), (21, 30)]
    assert "halved" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "shuffled"}, "Unknown sampling"),
        ({"stride": 0}, "at least 1 step"),
        ({"mode": "mixed", "total": 1, "micro": 1}, "batch of at least 2"),
        ({"total": 4, "micro": 3}, "cannot be divided"),
        ({"total": 3, "world_size": 2, "rank": 0}, "cannot be divided"),
    ],
)
def test_settings_and_places_that_do_not_fit(options, message):
    with pytest.raises(EventDataError, match=message):
        train_loader(**options)
    with pytest.raises(EventDataError, match="whole number of steps"):
        train_loader().seek(6)


def test_lost_and_cut_boxes_are_counted_and_logged(caplog, monkeypatch):
    monkeypatch.setattr(train_loader_module, "_REPORT_SAMPLES", 200)
    closer = AugmentSettings(zoom_in_factor=(2.0, 4.0))
    loader = train_loader("random", micro=4, random_augment=closer)
    with caplog.at_level("INFO", logger="eventcam.sampling.train_loader"):
        samples = list(flat(steps(loader, 51)))  # an epoch is shorter than 200 samples
    assert loader.dropped_boxes == sum(s["dropped_boxes"] for s in samples)
    assert loader.clipped_boxes == sum(s["clipped_boxes"] for s in samples) > 0
    assert caplog.text.count("boxes at the border") == 1
