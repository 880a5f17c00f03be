"""Reading box labels in both spellings, and damaged ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
from event_toys import make_labels

from eventcam.errors import EventDataError
from eventcam.io import BBOX_DTYPE, read_bbox, write_bbox


def saved(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize("times", [[10, 20, 20, 30], []])
def test_round_trip(tmp_path, times):
    labels = make_labels(times)
    write_bbox(tmp_path / "a_bbox.npy", labels)
    found, counts = read_bbox(tmp_path / "a_bbox.npy")
    assert np.array_equal(found, labels) and found.dtype == BBOX_DTYPE and not counts


def test_older_spelling_other_types_and_missing_fields(tmp_path):
    older = np.zeros(2, [("ts", "u8"), *((n, "f8") for n in "xywh"), ("class_id", "u1")])
    older["ts"], older["x"], older["class_id"] = [5, 6], [1.5, 2.5], 3
    found, _ = read_bbox(saved(tmp_path / "a_bbox.npy", older))
    assert found["t"].tolist() == [5, 6] and found["x"].tolist() == [1.5, 2.5]
    assert found["class_id"].tolist() == [3, 3] and found["class_confidence"].tolist() == [1, 1]
    with_score = np.zeros(1, [*older.dtype.descr, ("confidence", "f4")])
    with_score["confidence"] = 0.25
    found, _ = read_bbox(saved(tmp_path / "b_bbox.npy", with_score))
    assert found["class_confidence"].tolist() == [0.25]


def test_unsorted_and_impossible_boxes_are_counted(tmp_path):
    labels = make_labels([30, 10, 20, -5, 10**17, 40])
    labels["w"][-1] = np.nan
    found, counts = read_bbox(saved(tmp_path / "a_bbox.npy", labels))
    assert found["t"].tolist() == [10, 20, 30]
    expected = {"boxes_impossible_time": 2, "boxes_not_finite": 1, "boxes_out_of_order": 1}
    assert counts == expected


def test_ids_that_do_not_fit_do_not_become_valid_ones(tmp_path):
    wide = np.zeros(3, [("t", "i8"), *((n, "f4") for n in "xywh"), ("class_id", "i8")])
    wide["class_id"] = [-1, 1 << 32, 2]
    found, _ = read_bbox(saved(tmp_path / "a_bbox.npy", wide))
    assert found["class_id"].tolist() == [0xFFFFFFFF, 0xFFFFFFFF, 2]


def pickled():
    """An object, which is never loaded."""
    stream = io.BytesIO()
    np.save(stream, np.array([{"t": 1}], object), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize("content", [b"", b"noise", b"\x93NUMPY\x01\x00", pickled()])
def test_garbage_is_refused_with_a_sentence(tmp_path, content):
    (tmp_path / "a_bbox.npy").write_bytes(content)
    with pytest.raises(EventDataError, match="cannot be read as an array of boxes") as caught:
        read_bbox(tmp_path / "a_bbox.npy")
    assert "trust" not in str(caught.value)  # numpy's advice how to run what is in a file


@pytest.mark.parametrize("array", [np.zeros((3, 8)), np.zeros(2, [("t", "i8")]), np.array("x")])
def test_other_arrays_are_refused_with_a_sentence(tmp_path, array):
    with pytest.raises(EventDataError, match="is missing"):
        read_bbox(saved(tmp_path / "a_bbox.npy", array))


FIELDS = [("t", "i8"), *((name, "f4") for name in "xywh"), ("class_id", "u4")]


@pytest.mark.parametrize("name", ["t", "x", "class_id"])
@pytest.mark.parametrize("kind", ["c8", "U4", "M8[us]", "?", ("f4", (2,)), "V4"])
def test_fields_that_are_no_numbers_are_refused_with_a_sentence(tmp_path, name, kind):
    fields = [(field, kind if field == name else usual) for field, usual in FIELDS]
    with pytest.raises(EventDataError, match=rf"a_bbox.npy.* field {name} ") as caught:
        read_bbox(saved(tmp_path / "a_bbox.npy", np.zeros(3, fields)))
    assert "one number for each box" in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 3), (3, 1), (0, 4)])
def test_boxes_in_rows_and_columns_are_refused_with_a_sentence(tmp_path, shape):
    with pytest.raises(EventDataError, match="one number for each box"):
        read_bbox(saved(tmp_path / "a_bbox.npy", np.zeros(shape, FIELDS)))


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_all_types_are_counted(tmp_path):
    wide = np.zeros(5, [("t", "f8"), *((name, "f8") for name in "xywh"), ("class_id", "f8")])
    wide["t"], wide["w"] = [1, np.nan, 1e300, -np.inf, 2], [1, 1, 1, 1, 1e300]
    wide["class_id"][0] = np.nan
    found, counts = read_bbox(saved(tmp_path / "a_bbox.npy", wide))
    assert found["t"].tolist() == [1] and found["class_id"].tolist() == [0xFFFFFFFF]
    assert counts == {"boxes_impossible_time": 3, "boxes_not_finite": 1}
