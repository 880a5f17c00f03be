"""Generated data sets of recordings: they read back, whoever makes them."""

from __future__ import annotations

import numpy as np
import pytest

from eventcam.io import Events, open_events, read_bbox
from runfolder.files import replacing
from toydata.folder import MARKER_NAME, GeneratedDataError
from toydata.streets import GeneratedRecordings, generate_recording

TINY = GeneratedRecordings(train=2, val=1, test=1, seconds=0.4, width=96, height=72)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("generated") / "street"
    TINY.ensure(root)
    return root


def test_a_data_set_reads_back_as_it_was_made(dataset):
    events, labels = generate_recording(TINY, [TINY.seed, 0, 1])
    events = Events.concatenate(list(events))
    with open_events(dataset / "train" / "train_day_0002_td.h5") as reader:
        assert (reader.width, reader.height) == (TINY.width, TINY.height)
        assert reader.num_events() == len(events)
        again = Events.concatenate(list(reader.chunks(1000)))
    assert all(np.array_equal(getattr(events, n), getattr(again, n)) for n in "xypt")
    found, dropped = read_bbox(dataset / "train" / "train_day_0002_bbox.npy")
    assert np.array_equal(found, labels) and not dropped


def test_one_may_begin_while_another_writes_the_marker(tmp_path):
    with replacing(tmp_path / MARKER_NAME) as partial:
        partial.touch()
        TINY.ensure(tmp_path)
        partial.write_bytes((tmp_path / MARKER_NAME).read_bytes())
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    TINY.ensure(tmp_path)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")} != {}


def test_the_files_are_the_same_for_any_number_of_workers(dataset, tmp_path):
    TINY.ensure(tmp_path, workers=2)
    files = [
        sorted(p for p in root.rglob("*.*") if p.parent != root) for root in (dataset, tmp_path)
    ]
    contents = [[path.read_bytes() for path in found] for found in files]
    assert contents[0] == contents[1] and len(set(contents[0])) == 8


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 10}, "64 to 4096 px"),
        ({"seconds": 0.01}, "0.2 to 600 s"),
        ({"train": 0}, "at least 1 recording"),
    ],
)
def test_impossible_requests_are_sentences(values, message):
    with pytest.raises(GeneratedDataError, match=message):
        GeneratedRecordings(**values)
