"""Slices of recordings: by patterns of names or by a file, and what is said of either."""

from __future__ import annotations

import logging

import pytest

from smalldet.evaluation.slices import recordings_by_slice

NAMES = ["val_day_0001", "val_day_0002", "val_night_0001", "val_dusk"]


def test_patterns_of_names(caplog):
    patterns = {"day": "*_day_*", "first": "*0001", "all": "*", "rain": "*rain*"}
    with caplog.at_level(logging.INFO):
        found = recordings_by_slice(patterns, NAMES, "val")
    # What holds none of them, or all, has no scores of its own.
    assert found == {"day": NAMES[:2], "first": [NAMES[0], NAMES[2]]}
    assert "day 2, first 2, all 4, rain 0; in none of them 0" in caplog.text
    assert recordings_by_slice(None, NAMES, "val") == {}
    assert recordings_by_slice(patterns, [], "val") == {}


def test_a_file_of_recordings(tmp_path, caplog):
    path = tmp_path / "slices.csv"
    path.write_text(
        "\ufeffslice, recording,note\n rain,val_day_0002,x\nrain, val_dusk ,\nrain,val_dusk,\n"
        "dark,val_dusk,\ndark,train_night_0007,\n"
    )
    with caplog.at_level(logging.INFO):
        found = recordings_by_slice(str(path), NAMES, "val")
    assert found == {"rain": [NAMES[1], NAMES[3]], "dark": [NAMES[3]]}
    assert "in none of them 2" in caplog.text
    assert [record.levelname for record in caplog.records] == ["INFO"]
    recordings_by_slice(str(path), ["other"], "test")
    assert caplog.records[-1].levelname == "WARNING"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "of no name; missing are recording, slice"),
        (b"recording,part\na,b\n", "recording, part; missing are slice"),
        (b"recording,slice\na,b\nc\nd,\n", "line 3: .* and 1 more"),
        (b"recording,slice\na,to night\n", "called 'to night'"),
    ],
)
def test_files_that_do_not_fit_end_in_a_sentence(tmp_path, content, message):
    path = tmp_path / "slices.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        recordings_by_slice(str(path), NAMES, "val")


@pytest.mark.parametrize("name", ["", "a/b", "day mAP", "a,b"])
def test_names_that_cannot_be_part_of_a_key_are_refused(name):
    with pytest.raises(ValueError, match="Rename it"):
        recordings_by_slice({name: "*"}, NAMES, "val")
