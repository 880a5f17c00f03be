"""Prophesee's .raw: round trips by another encoder, clocks, other words, hostile files."""

from __future__ import annotations

import numpy as np
import pytest
from event_toys import HEIGHT, WIDTH, join, make_events, same_events
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_toys import header, words_of, write_raw, write_words

from eventcam.errors import EventDataError
from eventcam.io import Events, open_events
from eventcam.io.readers import evt, raw
from eventcam.io.readers.evt import ENCODINGS, Decoder

TURNS = {"EVT2": 1 << 34, "EVT3": 1 << 24}  # us after which the clocks start again
FORMS = [("EVT2", False), ("EVT3", False), ("EVT3", True)]


def read(path, max_events=1000):
    with open_events(path) as reader:
        parts = list(reader.chunks(max_events))
        assert all(0 < len(part) <= max_events for part in parts)
        return Events.concatenate(parts), dict(+reader.counts)


def rows_of_events(rows=80, last_us=900_000):
    """Bursts in one row each, with columns that ascend, as vectors hold them."""
    rng, parts = np.random.default_rng(2), []
    for time in np.sort(rng.integers(0, last_us, rows)).tolist():
        x = np.flatnonzero(rng.random(WIDTH) < rng.choice([0.02, 0.5, 1.0]))
        y, p = rng.integers(HEIGHT), rng.integers(2)
        columns = x, np.full(len(x), y), np.full(len(x), p), np.full(len(x), time)
        parts.append(Events(*(c.astype(k) for c, k in zip(columns, "HHBq", strict=True))))
    return join(*parts)


def write_late(path, encoding, events):
    """A recording that begins when the clock of the camera has long been running."""
    text = header(encoding, WIDTH, HEIGHT)
    return write_words(path, encoding, words_of(encoding, events), text)


def at_times(times):
    zeros = np.zeros(len(times), int)
    return Events(zeros, zeros, zeros, np.asarray(times))


def later(events, by_us):
    return Events(events.x, events.y, events.p, events.t + by_us)


@pytest.fixture(params=["compiled", "plain"])
def way(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr(evt.KERNEL, "why_absent", "not here")
    elif not evt.KERNEL.available():
        pytest.skip(evt.KERNEL.why_absent or "")


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(raw, "BLOCK_WORDS", 37)


@pytest.mark.usefixtures("way", "small_blocks")
@pytest.mark.parametrize(("encoding", "vectors"), FORMS)
@pytest.mark.parametrize("max_events", [1, 7, 10_000])
def test_what_another_encoder_wrote_is_read_in_blocks_of_any_size(
    tmp_path, encoding, vectors, max_events
):
    for number, events in enumerate((make_events(700), rows_of_events())):
        path = write_raw(tmp_path / f"{number}.raw", encoding, events, WIDTH, HEIGHT, vectors)
        found, counts = read(path, max_events)
        assert same_events(found, events) and counts == {}
        kinds = [np.uint16, np.uint16, np.uint8, np.int64]
        assert [getattr(found, name).dtype for name in "xypt"] == kinds
        with open_events(path) as reader:
            assert (reader.width, reader.height) == (WIDTH, HEIGHT)
            assert reader.num_events() == len(events)
            assert reader.time_range_us() == (events.t[0], events.t[-1])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_recording_without_events(tmp_path, encoding):
    for words in ([], [0x8001 if encoding == "EVT3" else 0x80000001]):
        path = write_words(tmp_path / "a.raw", encoding, words, header(encoding, WIDTH, HEIGHT))
        with open_events(path) as reader:
            assert reader.num_events() == 0 and reader.time_range_us() == (0, 0)
            assert list(reader.chunks()) == []


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_clock_goes_on_when_it_starts_again(tmp_path, encoding):
    turn, step = TURNS[encoding], TURNS[encoding] // 16
    times = 3000 + np.arange(50) * step
    path = write_late(tmp_path / "a.raw", encoding, at_times(times))
    events, counts = read(path)
    assert np.array_equal(np.diff(events.t), np.full(49, step))
    assert counts == {"clock_restarts": int(times[-1] // turn)}
    with open_events(path) as reader:
        first, last = reader.time_range_us()
        assert last - first == 49 * step


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_small_steps_back_are_no_restarts_and_those_over_one_come_back(tmp_path, encoding):
    turn = TURNS[encoding]
    times = np.array([turn - 9000, turn + 5000, turn - 5000, turn + 9000, turn + 4000])
    path = write_late(tmp_path / "a.raw", encoding, at_times(times))
    events, counts = read(path)
    assert np.array_equal(np.diff(events.t), np.diff(times)) and counts == {"clock_restarts": 1}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("encoding", "step", "ahead"), [("EVT2", 64, 0), ("EVT3", 4096, 4096)])
def test_time_begins_with_the_recording(tmp_path, encoding, step, ahead):
    events = later(make_events(50), 5_000_000)
    found, _ = read(write_late(tmp_path / "a.raw", encoding, events))
    begins = int(events.t[0]) // step * step - ahead
    assert same_events(found, later(events, -begins))


@pytest.mark.usefixtures("way")
def test_a_time_holds_until_its_lower_bits_come(tmp_path):
    """A new upper part alone is its beginning; the same one again changes nothing."""
    words = [0x8000, 0x6005, 0x0001, 0x2001, 0x8000, 0x2002, 0x8001, 0x2003, 0x6007, 0x2004]
    path = write_words(tmp_path / "a.raw", "EVT3", words, header("EVT3", 9, 9))
    assert read(path)[0].t.tolist() == [5, 5, 4096, 4103]


@pytest.mark.usefixtures("way", "small_blocks")
@pytest.mark.parametrize(("encoding", "vectors"), FORMS)
def test_other_words_are_counted_and_change_nothing(tmp_path, encoding, vectors):
    events, shift = rows_of_events(60), {"EVT2": 28, "EVT3": 12}[encoding]
    plain = [0x8000 << (shift - 12), *words_of(encoding, events, vectors)]
    kinds = [0xA, 0xE, 0xF, 0xC] + ([0x7] if encoding == "EVT3" else [])
    words = [w for word in plain for w in (word, *(kind << shift | 5 for kind in kinds))]
    path = write_words(tmp_path / "a.raw", encoding, words, header(encoding, WIDTH, HEIGHT))
    found, counts = read(path)
    assert same_events(found, events)
    n = len(plain)
    assert counts == {
        "external_triggers": n,
        "vendor_words": n * (len(kinds) - 2),
        "unknown_words": n,
    }


@pytest.mark.usefixtures("way")
def test_events_before_their_time_row_or_column_are_left_out_and_counted(tmp_path):
    evt3 = [0x2001, 0x0002, 0x2001, 0x4FFF, 0x8000, 0x6003, 0x4003, 0x2004, 0x3008, 0x5F81]
    path = write_words(tmp_path / "a.raw", "EVT3", evt3, header("EVT3", 99, 99))
    events, counts = read(path)
    assert events.x.tolist() == [4, 8, 15] and events.y.tolist() == [2, 2, 2]
    assert counts == {"events_undefined": 1 + 1 + 12 + 2}
    evt2 = [0x00000001, 0x10000001, 0x80000000, 0x10000801]
    path = write_words(tmp_path / "b.raw", "EVT2", evt2, header("EVT2", 99, 99))
    events, counts = read(path)
    assert events.x.tolist() == [1] and counts == {"events_undefined": 2}


@pytest.mark.usefixtures("way")
def test_events_of_a_second_camera_and_beyond_all_columns_are_outside_the_sensor(tmp_path):
    words = [0x8000, 0x0801, 0x2001, 0x0001, 0x37FF, *[0x4001] * 6000, 0x2002]
    path = write_words(tmp_path / "a.raw", "EVT3", words, header("EVT3", 1280, 720))
    events, _ = read(path, 10_000)
    inside = (events.x < 1280) & (events.y < 720)
    assert events[inside].x.tolist() == [2] and len(events) == 6002


@given(data=st.data(), encoding=st.sampled_from(list(ENCODINGS.values())))
@settings(max_examples=60, deadline=None)
def test_compiled_and_plain_agree_on_any_words_in_any_blocks(data, encoding):
    if not evt.KERNEL.available():
        pytest.skip(evt.KERNEL.why_absent or "")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    top = np.iinfo(encoding.word).bits - 4
    kinds = rng.choice(data.draw(st.sampled_from([[0, 2, 6, 8], [2, 3, 4, 5], range(16)])), 400)
    words = rng.integers(0, 1 << top, 400).astype(encoding.word)
    words |= kinds.astype(encoding.word) << top
    whole, compiled, plain = Decoder(encoding), Decoder(encoding), Decoder(encoding)
    wanted, parts = whole.plain(words), []
    for part in np.split(words, np.sort(rng.integers(0, 400, rng.integers(0, 9)))):
        parts.append(compiled.compiled(part))
        assert same_events(parts[-1], plain.plain(part))
        assert bytes(compiled.state) == bytes(plain.state)
    assert same_events(Events.concatenate(parts), wanted) and whole.counts == plain.counts


@pytest.mark.parametrize(("encoding", "vectors"), FORMS)
def test_a_file_cut_anywhere_gives_the_events_before_the_cut(tmp_path, encoding, vectors):
    events = rows_of_events(40)
    path = write_raw(tmp_path / "a.raw", encoding, events, WIDTH, HEIGHT, vectors)
    content, begin = path.read_bytes(), len(header(encoding, WIDTH, HEIGHT))
    size = np.dtype(ENCODINGS[encoding].word).itemsize
    for cut in range(begin, len(content), 11):
        path.write_bytes(content[:cut])
        found, counts = read(path)
        assert same_events(found, events[: len(found)])
        assert counts == ({"trailing_bytes": (cut - begin) % size} if (cut - begin) % size else {})
    for cut in range(begin):
        path.write_bytes(content[:cut])
        try:
            assert len(read(path)[0]) == 0
        except EventDataError as error:
            assert "a.raw" in str(error)


def test_any_bytes_end_in_events_counts_or_a_sentence(tmp_path):
    rng = np.random.default_rng(3)
    path = write_raw(tmp_path / "a.raw", "EVT3", rows_of_events(20), WIDTH, HEIGHT, vectors=True)
    content = path.read_bytes()
    for _ in range(150):
        changed = np.frombuffer(content, np.uint8).copy()
        changed[rng.integers(0, rng.choice([200, len(changed)]), 12)] = rng.integers(0, 256, 12)
        path.write_bytes(changed.tobytes())
        try:
            with open_events(path) as reader:
                assert reader.num_events() == sum(map(len, reader.chunks(100)))
        except EventDataError as error:
            assert "a.raw" in str(error)


HEADERS = [
    ("% evt 3.0\n% geometry 64x48\n", (64, 48)),
    ("% Date 2020-09-14 14:18:29\n% evt 3.0\n% width 64\n% height 48\n", (64, 48)),
    ("% format EVT3;height=48;width=64\n% end\n", (64, 48)),
    ("% format EVT3;width=64;height=48\n% evt 2.0\n% end\n", (64, 48)),  # format is favoured
    ("% integrator_name Bürkle\n% evt 3.0\n% system_ID 40\n", (640, 480)),
]


@pytest.mark.parametrize(("text", "size"), HEADERS)
def test_headers_of_all_times(tmp_path, caplog, text, size):
    words = [0x8025, 0x0001, 0x2001]  # the first byte is a percent sign
    with open_events(write_words(tmp_path / "a.raw", "EVT3", words, text)) as reader:
        assert (reader.width, reader.height) == size and reader.num_events() == 1
    assert not caplog.text


def test_a_header_without_a_size_is_taken_for_etrams(tmp_path, caplog):
    path = write_words(tmp_path / "a.raw", "EVT3", [], "% evt 3.0\n% geometry 0x99999999999\n")
    with open_events(path) as reader:
        assert (reader.width, reader.height) == (1280, 720)
    assert "no usable sensor width" in caplog.text


def test_words_of_the_other_byte_order_are_read_if_the_header_says_so(tmp_path):
    events = make_events(50)
    path = write_raw(tmp_path / "a.raw", "EVT3", events, WIDTH, HEIGHT)
    text = header("EVT3", WIDTH, HEIGHT)
    words = np.frombuffer(path.read_bytes()[len(text) :], "<u2").byteswap()
    big = text.replace("% end", "% endianness big\n% end")
    assert same_events(read(write_words(path, "EVT3", words, big))[0], events)


def test_a_recording_that_was_read_is_not_read_again_for_its_length(tmp_path, monkeypatch):
    path = write_raw(tmp_path / "a.raw", "EVT3", make_events(50), WIDTH, HEIGHT)
    read(path)
    with monkeypatch.context() as patch, open_events(path) as reader:
        patch.setattr(raw.RawReader, "_words", None)
        assert reader.num_events() == 50 and reader.time_range_us()[1] == 1_000_000
    write_raw(path, "EVT3", make_events(70), WIDTH, HEIGHT)
    with open_events(path) as reader:
        assert reader.num_events() == 70


def test_its_length_may_be_asked_for_while_it_is_read(tmp_path):
    path = write_raw(tmp_path / "a.raw", "EVT2", make_events(50), WIDTH, HEIGHT)
    with open_events(path) as reader:
        assert sum(len(part) * (reader.num_events() == 50) for part in reader.chunks(9)) == 50


def test_rows_of_vectors_are_shorter_than_single_events(tmp_path):
    """The encoder of this test really makes vectors."""
    sizes = [
        write_raw(tmp_path / "a.raw", "EVT3", rows_of_events(), WIDTH, HEIGHT, v).stat().st_size
        for v in (False, True)
    ]
    assert sizes[1] < sizes[0] / 2
