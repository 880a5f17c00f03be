"""Reading raw events: round trips, block sizes, damaged files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from event_toys import (
    HEIGHT,
    WIDTH,
    join,
    label_times,
    make_events,
    make_labels,
    one_event,
    same_events,
    write_dat,
)

from eventcam.errors import EventDataError
from eventcam.io import Events, open_events, write_bbox, write_h5_recording

WRAP = 1 << 32


def read(path, max_events=1000):
    with open_events(path) as reader:
        parts = list(reader.chunks(max_events))
        assert all(0 < len(part) <= max_events for part in parts)
        return Events.concatenate(parts), dict(+reader.counts)


def write(path, events):
    if path.suffix == ".h5":
        write_h5_recording(path, [events[:100], events[100:]], WIDTH, HEIGHT)
    else:
        write_dat(path, events)


@pytest.mark.parametrize("suffix", [".h5", ".dat"])
@pytest.mark.parametrize("max_events", [1, 7, 500, 10_000])
def test_what_was_written_is_read_in_blocks_of_any_size(tmp_path, suffix, max_events):
    events = make_events(500)
    write(tmp_path / f"a{suffix}", events)
    found, counts = read(tmp_path / f"a{suffix}", max_events)
    assert same_events(found, events) and counts == {}
    assert [getattr(found, n).dtype for n in "xypt"] == [np.uint16, np.uint16, np.uint8, np.int64]
    with open_events(tmp_path / f"a{suffix}") as reader:
        assert (reader.width, reader.height) == (WIDTH, HEIGHT)
        assert reader.num_events() == 500
        assert reader.time_range_us() == (events.t[0], events.t[-1])


@pytest.mark.parametrize("suffix", [".h5", ".dat"])
def test_a_recording_without_events(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", Events.empty())
    with open_events(tmp_path / f"a{suffix}") as reader:
        assert reader.num_events() == 0 and reader.time_range_us() == (0, 0)
        assert list(reader.chunks()) == []


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"% Height 4\n", b"noise" * 99])
@pytest.mark.parametrize("suffix", [".h5", ".dat", ".raw"])
def test_garbage_is_refused_with_a_sentence(tmp_path, suffix, content):
    (tmp_path / f"a{suffix}").write_bytes(content)
    reasons = r"a\.\w+ (cannot be (opened|read)|is no|has the suffix)"
    with pytest.raises(EventDataError, match=reasons):
        open_events(tmp_path / f"a{suffix}")
    with pytest.raises(EventDataError):
        open_events(tmp_path / f"missing{suffix}")


def h5_with(path, **columns):
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[f"events/{name}"] = values
    return path


def test_h5_in_other_integer_types_never_wraps_into_the_sensor(tmp_path):
    path = h5_with(
        tmp_path / "a.h5",
        x=np.array([-1, 65_536 + 5, 5], np.int32),
        y=np.array([1, 2, 3], np.int64),
        p=np.array([-1, 1, 2], np.int8),
        t=np.array([10, 20, 30], np.uint32),
    )
    events, counts = read(path)
    assert events.x.tolist() == [65_535, 65_535, 5] and events.p.tolist() == [0, 1, 1]
    assert counts == {"events_odd_polarity": 1}
    with open_events(path) as reader:
        assert (reader.width, reader.height) == (1280, 720)


def test_h5_columns_of_unequal_length_are_cut_and_counted(tmp_path):
    columns = {"x": np.zeros(5, int), "y": np.zeros(4, int), "p": np.zeros(7, int)}
    events, counts = read(h5_with(tmp_path / "a.h5", t=np.arange(7), **columns))
    assert len(events) == 4 and counts == {"events_incomplete": 3}


@pytest.mark.parametrize("columns", [{"x": np.zeros(3)}, {n: np.zeros((2, 2)) for n in "xypt"}])
def test_h5_in_another_layout_is_refused(tmp_path, columns):
    with pytest.raises(EventDataError, match=r"one-dimensional numeric columns x, y, p, t"):
        open_events(h5_with(tmp_path / "a.h5", **columns))


def test_h5_with_an_impossible_sensor_is_refused(tmp_path):
    columns = {name: np.zeros(3, int) for name in "xypt"}
    with pytest.raises(EventDataError, match="sensor width"):
        open_events(h5_with(tmp_path / "a.h5", width=-3, **columns))


def test_h5_blocks_that_cannot_be_decompressed_are_left_out(tmp_path):
    path = tmp_path / "a_td.h5"
    events = make_events(200_000)
    write_h5_recording(path, [events], WIDTH, HEIGHT)
    with h5py.File(path) as file:
        block = file["events/y"].id.get_chunk_info(1)
    content = bytearray(path.read_bytes())
    content[block.byte_offset : block.byte_offset + block.size] = bytes(block.size)
    path.write_bytes(content)
    found, counts = read(path, max_events=1 << 16)
    assert counts == {"events_unreadable": 1 << 16}
    assert same_events(found, join(events[: 1 << 16], events[2 << 16 :]))


def test_dat_that_was_cut_short_gives_the_whole_events(tmp_path):
    write_dat(tmp_path / "a.dat", make_events(100))
    (tmp_path / "b.dat").write_bytes((tmp_path / "a.dat").read_bytes()[:-13])
    events, counts = read(tmp_path / "b.dat")
    assert same_events(events, make_events(100)[:98]) and counts == {"trailing_bytes": 3}


@pytest.mark.parametrize("max_events", [1, 3, 1000])
def test_dat_clock_goes_on_after_32_bits(tmp_path, max_events):
    times = np.array([WRAP - 20, WRAP - 10, WRAP + 5, WRAP - 2, WRAP + 9, 2 * WRAP + 1, 2 * WRAP])
    zeros = np.zeros(len(times), int)
    write_dat(tmp_path / "a.dat", Events(zeros, zeros, zeros, times))
    events, counts = read(tmp_path / "a.dat", max_events)
    # The jump of a whole turn (less 8 us) cannot be told from a step back by 8 us.
    assert events.t.tolist() == [*times[:5], WRAP + 1, WRAP] and counts == {"clock_restarts": 1}
    with open_events(tmp_path / "a.dat") as reader:
        assert reader.time_range_us()[0] == WRAP - 20


def test_dat_time_range_follows_the_clock(tmp_path):
    times = np.linspace(0, 6 * WRAP // 5, 300_000).astype(np.int64)
    zeros = np.zeros(len(times), int)
    write_dat(tmp_path / "a.dat", Events(zeros, zeros, zeros, times))
    with open_events(tmp_path / "a.dat") as reader:
        assert reader.time_range_us() == (0, 6 * WRAP // 5)


def test_dat_garbage_time_stamps_do_not_move_the_clock(tmp_path):
    events = join(one_event(1, 1, 50), one_event(1, 1, WRAP - 7), one_event(1, 1, 60))
    write_dat(tmp_path / "a.dat", events)
    assert read(tmp_path / "a.dat")[0].t.tolist() == [50, -7, 60]


def test_dat_without_a_sensor_size_is_taken_for_etrams(tmp_path, caplog):
    write_dat(tmp_path / "a.dat", make_events(3), header="% Version 2\n% end\n")
    with open_events(tmp_path / "a.dat") as reader:
        assert (reader.width, reader.height) == (1280, 720)
    assert "no usable sensor width" in caplog.text


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path):
    def chunks():
        yield make_events(10)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_h5_recording(tmp_path / "a_td.h5", chunks(), WIDTH, HEIGHT)
    with pytest.raises(EventDataError, match="structured array"):
        write_bbox(tmp_path / "a_bbox.npy", make_labels(label_times(30))[["t", "x"]])
    assert list(tmp_path.iterdir()) == []
