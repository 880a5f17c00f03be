"""One recording prepared: the published numbers, known-empty times, files that end early."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from event_toys import (
    HEIGHT,
    WIDTH,
    damaged,
    golden,
    golden_events,
    label_times,
    make_events,
    make_labels,
    write_dat,
    write_recording,
)
from raw_toys import write_raw

from eventcam.errors import EventDataError
from eventcam.io import Events, rvt_layout, write_bbox, write_h5_recording
from eventcam.prepare.recording import Preparation, prepare_recording


def prepare(folder, name="a", settings=None, train=True, suffix=".h5"):
    out = folder / "out"
    record = prepare_recording(
        folder / f"{name}_td{suffix}",
        folder / f"{name}_bbox.npy",
        out,
        settings or Preparation(),
        train,
    )
    json.dumps(record, allow_nan=False)
    return out, record


def representations(out, downsample="nearest"):
    with h5py.File(out / rvt_layout.representation_file(downsample)) as file:
        return file["data"][:]


def test_equals_the_published_preparation(tmp_path):
    arrays, _ = golden("preprocess")
    events = golden_events(arrays, "pipeline/in_")
    write_h5_recording(tmp_path / "a_td.h5", [events], 1280, 720)
    write_bbox(tmp_path / "a_bbox.npy", arrays["pipeline/in_boxes"])
    out, record = prepare(tmp_path, settings=Preparation("gen4_3classes", published=True))
    wanted = np.zeros(arrays["pipeline/out_repr_shape"], np.uint8)
    wanted.flat[arrays["pipeline/out_repr_flat_idx"]] = arrays["pipeline/out_repr_value"]
    assert np.array_equal(representations(out), wanted)
    with np.load(out / rvt_layout.LABELS) as labels:
        for key in ("labels", "objframe_idx_2_label_idx"):
            assert np.array_equal(labels[key], arrays[f"pipeline/out_{key}"])
    files = {
        rvt_layout.FRAME_TIMES: "frame_timestamps_us",
        rvt_layout.WINDOW_ENDS: "ev_repr_timestamps_us",
        rvt_layout.FRAME_STEPS: "objframe_idx_2_repr_idx",
    }
    for path, key in files.items():
        assert np.array_equal(np.load(out / path), arrays[f"pipeline/out_{key}"])
    assert record["dropped_or_changed"]["events_time_raised"] == 9


def test_files_and_compression_are_the_published_ones(tmp_path):
    _, meta = golden("preprocess")
    write_recording(tmp_path, "a")
    out, _ = prepare(tmp_path)
    found = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    ours = {rvt_layout.LABEL_GRID.as_posix(), rvt_layout.KNOWN_EMPTY.as_posix()}
    assert found == {*meta["pipeline"]["files"], *ours}
    with h5py.File(out / rvt_layout.representation_file("nearest")) as file:
        data, published = file["data"], meta["pipeline"]["h5"]
        assert data.chunks == (1, 20, HEIGHT // 2, WIDTH // 2) and data.maxshape[0] is None
        filters = list(data._filters["32001"])
        filters[3] = published["filters"]["32001"][3]  # bytes of one block
        assert filters == published["filters"]["32001"] and list(file) == published["keys"]


@pytest.mark.parametrize("suffix", [".dat", ".raw"])
@pytest.mark.parametrize("downsample", ["none", "nearest", "sum"])
def test_all_formats_give_the_same(tmp_path, suffix, downsample):
    write_recording(tmp_path, "a")
    write_recording(tmp_path / "b", "b")
    write_dat(tmp_path / "b" / "b_td.dat", make_events(3000))
    write_raw(tmp_path / "b" / "b_td.raw", "EVT3", make_events(3000), WIDTH, HEIGHT)
    settings = Preparation(downsample=downsample)
    out, record = prepare(tmp_path, settings=settings)
    other, other_record = prepare(tmp_path / "b", "b", settings, suffix=suffix)
    first = representations(out, downsample)
    assert np.array_equal(first, representations(other, downsample)) and record == other_record
    assert first.sum() > 0 and record["counts"]["frames"] == 10
    assert record["boxes_per_class"]["Car"] == 10  # raw class 1


def test_times_without_boxes_are_known_to_be_empty(tmp_path):
    times = label_times(30, 3_000_000)
    seen = times[(times <= 1_000_000) | (times > 2_000_000)]
    write_recording(tmp_path, "a", make_events(3000, 3_000_000), make_labels(seen))
    out, record = prepare(tmp_path)
    grid, empty = np.load(out / rvt_layout.LABEL_GRID), np.load(out / rvt_layout.KNOWN_EMPTY)
    assert np.array_equal(grid, times) or np.abs(grid - times).max() <= 1
    assert record["counts"]["frames_known_empty"] == len(empty) >= 8
    assert not np.isin(empty, np.load(out / rvt_layout.FRAME_STEPS)).any()


def test_labels_behind_the_last_event_are_left_out(tmp_path):
    labels = make_labels(label_times(10, 3_000_000))
    write_recording(tmp_path, "a", make_events(2000, 1_000_000), labels)
    out, record = prepare(tmp_path)
    frames, ends = np.load(out / rvt_layout.FRAME_TIMES), np.load(out / rvt_layout.WINDOW_ENDS)
    assert frames[-1] == ends[-1] == 1_500_000  # half a second of grace
    assert len(representations(out)) == len(ends) == record["counts"]["representations"]
    assert record["dropped_or_changed"]["boxes_not_at_a_frame"] == 15
    assert np.load(out / rvt_layout.LABEL_GRID)[-1] <= ends[-1]


HOPELESS = [
    (Events.empty(), None, "events end before its labels begin"),
    (None, make_labels([]), "no box is left of 0 .the file has none"),
    (None, make_labels([200_000], class_id=11), "boxes_of_raw_class_11 1"),
    (None, make_labels([1, 99_999]), "first 100 ms"),
    (make_events(9, 100), make_labels([9_000_000]), "events end before"),
]


@pytest.mark.parametrize(("events", "labels", "message"), HOPELESS)
def test_hopeless_recordings_end_in_a_sentence(tmp_path, events, labels, message):
    write_recording(tmp_path, "a", events, labels)
    with pytest.raises(EventDataError, match=message):
        prepare(tmp_path)


@pytest.mark.parametrize("suffix", [".h5", ".dat", ".raw"])
@pytest.mark.filterwarnings("ignore")  # numpy's about odd numbers
def test_damaged_bytes_end_in_a_record_or_in_a_sentence(tmp_path, suffix):
    write_recording(tmp_path, "a")
    write_dat(tmp_path / "a_td.dat", make_events(3000))
    write_raw(tmp_path / "a_td.raw", "EVT2", make_events(3000), WIDTH, HEIGHT)
    rng = np.random.default_rng(7)
    for number in range(40):
        path = tmp_path / ("a_bbox.npy" if number % 2 else f"a_td{suffix}")
        content = path.read_bytes()
        path.write_bytes(damaged(content, rng))
        try:
            _, record = prepare(tmp_path, suffix=suffix)
            assert record["counts"]["frames"] > 0
        except EventDataError:
            pass
        path.write_bytes(content)


def test_all_boxes_are_accounted_for(tmp_path):
    labels = make_labels(label_times(30))
    labels["w"][3], labels["x"][4], labels["class_id"][5] = 2, 500, 99
    labels["t"][6], labels["h"][7] = -5, np.inf
    np.save(tmp_path / "a_bbox.npy", labels)
    write_h5_recording(tmp_path / "a_td.h5", [make_events(900)], WIDTH, HEIGHT)
    _, record = prepare(tmp_path)
    dropped = {k: v for k, v in record["dropped_or_changed"].items() if k.startswith("boxes")}
    assert dropped.pop("boxes_not_at_a_frame") + sum(dropped.values()) == 30 - 9
    assert record["counts"]["boxes_in_file"] == 30 and len(dropped) == 4


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("published", [False, True])
def test_all_boxes_are_kept_but_by_the_published_preparation(tmp_path, train, published):
    labels = make_labels(label_times(30))
    labels["w"][::5] = 0.5
    write_recording(tmp_path, "a", labels=labels)
    out, record = prepare(tmp_path, settings=Preparation(published=published), train=train)
    with np.load(out / rvt_layout.LABELS) as stored:
        widths = set(stored["labels"]["w"].tolist())
    dropped = record["dropped_or_changed"].get("boxes_too_small", 0)
    assert (widths, dropped) == (({20.0}, 6) if published else ({0.5, 20.0}, 0))
