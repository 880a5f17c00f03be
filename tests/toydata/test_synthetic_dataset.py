"""Generated data sets: equal files for equal parameters, and nothing of others is touched."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from eventcam.io import Events, open_events, read_bbox
from toydata.folder import GeneratedDataError
from toydata.streets import GeneratedRecordings, generate_recording

TINY = GeneratedRecordings(train=2, val=1, test=1, seconds=0.4, width=96, height=72)


def checksums(root) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.suffix in (".h5", ".npy"))
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("generated") / "street"
    TINY.ensure(root)
    return root


def test_a_data_set_reads_back_as_it_was_made(dataset):
    events, labels = generate_recording(TINY.scene(), [TINY.seed, 0, 1])
    events = Events.concatenate(list(events))
    with open_events(dataset / "train" / "train_day_0002_td.h5") as reader:
        assert (reader.width, reader.height) == (TINY.width, TINY.height)
        assert reader.num_events() == len(events)
        again = Events.concatenate(list(reader.chunks(1000)))
    assert all(np.array_equal(getattr(events, n), getattr(again, n)) for n in "xypt")
    found, dropped = read_bbox(dataset / "train" / "train_day_0002_bbox.npy")
    assert np.array_equal(found, labels) and not dropped


def test_the_files_are_the_same_for_any_number_of_workers(dataset, tmp_path):
    sums = checksums(dataset)
    assert len(sums) == 8 and len(set(sums.values())) == 8
    TINY.ensure(tmp_path / "again", workers=2)
    assert checksums(tmp_path / "again") == sums


def test_what_is_there_is_left_alone(dataset):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*.*")}
    TINY.ensure(dataset)
    assert before == {path: path.stat().st_mtime_ns for path in dataset.rglob("*.*")}


def test_several_may_start_at_once(dataset, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        for started in [pool.submit(TINY.ensure, tmp_path / "x") for _ in range(3)]:
            started.result()
    assert checksums(tmp_path / "x") == checksums(dataset)


def test_other_parameters_are_a_sentence(dataset):
    with pytest.raises(GeneratedDataError, match=r"other parameters.*Delete that folder"):
        GeneratedRecordings(seconds=0.5).ensure(dataset)


def test_strangers_are_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(GeneratedDataError, match="was not generated"):
        TINY.ensure(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_run_is_made_again(dataset, tmp_path):
    marker = json.loads((dataset / "generated.json").read_text())
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "half_td.h5").write_bytes(b"half")
    (tmp_path / ".partial-val").mkdir()  # left by a process that was killed
    (tmp_path / "generated.json").write_text(json.dumps({**marker, "complete": False}))
    TINY.ensure(tmp_path)
    assert checksums(tmp_path) == checksums(dataset)


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
