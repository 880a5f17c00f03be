"""Sizes of boxes: collected over recordings, drawn, and written into a config."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from sequence_toys import FakeRecording

from eventcam.errors import EventDataError
from eventcam.prepare.size_report import box_sizes, draw_sizes, origin, write_literals

CONFIG = """\
'''Größe: model.head.small_threshold = 1 is text here.'''
model.head.small_threshold = 1024  # px²
model.head.medium_threshold =  9216
_ä, _source = 1, 2
_source = "é, by hand"; other = [1,
    2]
"""
VALUES = {"model.head.small_threshold": 353, "model.head.medium_threshold": 1103}


def test_every_box_of_every_labelled_frame():
    sizes = box_sizes([FakeRecording("a", 9, [0, 1, 3]), FakeRecording("b", 9, [2])])
    assert sizes.areas.tolist() == [15.0, 20.0, 30.0, 25.0]  # (3 + step % 8) x 5 px
    assert sizes.classes.tolist() == [0, 1, 0, 2]
    assert (sizes.recordings, sizes.frames, sizes.resolution) == (2, 4, (12, 16))


def test_no_or_several_resolutions_are_refused():
    with pytest.raises(EventDataError, match="The split has no recordings"):
        box_sizes([])
    with pytest.raises(EventDataError, match="16x12, 32x24"):
        box_sizes([FakeRecording("a", 9), FakeRecording("b", 9, shape=(20, 24, 32))])


def test_recordings_without_boxes_give_none():
    assert box_sizes([FakeRecording("a", 9)]).areas.shape == (0,)


def test_generated_recordings_are_called_so(tmp_path: Path):
    assert origin(tmp_path / "street") == "street"
    (tmp_path / "street_raw").mkdir()
    (tmp_path / "street_raw" / "generated.json").touch()
    assert "generated" in origin(tmp_path / "street")


def test_the_plot_is_a_picture(tmp_path: Path):
    sizes = box_sizes([FakeRecording("a", 40, range(40))])
    path = tmp_path / "new" / "sizes.png"
    draw_sizes(sizes, ["Car", "Bus", "Other", "Static"], {"small": 20, "medium": 30}, "Toy", path)
    picture = cv2.imread(str(path))
    assert picture.shape[1] > 600 and np.ptp(picture) > 200


def test_write_changes_the_values_and_nothing_else(tmp_path: Path):
    config = tmp_path / "config.py"
    config.write_bytes(CONFIG.replace("\n", "\r\n").encode())
    assert write_literals(config, VALUES)
    expected = CONFIG.replace("= 1024", "= 353").replace("9216", "1103").replace("\n", "\r\n")
    assert config.read_bytes() == expected.encode()
    assert not write_literals(config, VALUES)  # nothing left to do


@pytest.mark.parametrize("text", ['terciles of "5" px² \\ boxes', "plain"])
def test_text_is_written_as_a_literal(tmp_path: Path, text: str):
    config = tmp_path / "config.py"
    config.write_text("_source = 'old'  # kept\n", encoding="utf-8")
    assert write_literals(config, {"_source": text})
    written = config.read_text(encoding="utf-8")
    found: dict[str, str] = {}
    exec(written, found)
    assert found["_source"] == text and written.endswith("  # kept\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1\n", "exactly one line 'model.head.small_threshold = "),
        ("model.head.small_threshold = 1\nmodel.head.small_threshold = 2\n", "exactly one line"),
        ("model.head.small_threshold = a.b\n", "exactly one line"),
        ("if x:\n    model.head.small_threshold = 1\n", "exactly one line"),
        ("model.head.small_threshold = \n", "line 1: invalid syntax"),
    ],
)
def test_a_file_that_does_not_fit_is_left_alone(tmp_path: Path, content: str, message: str):
    config = tmp_path / "config.py"
    config.write_text(content)
    with pytest.raises(EventDataError, match=message):
        write_literals(config, {"model.head.small_threshold": 5})
    assert config.read_text() == content
