"""Columns decompressed beside HDF5: the same values, and the same errors, as HDF5's own way."""

from __future__ import annotations

import contextlib
import shutil
import threading

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventcam.io import blosc
from eventcam.io.blosc import ColumnReader

LENGTH, CHUNK = 1000, 128  # the last chunk is not full
BLOSC = hdf5plugin.Blosc
LAYOUTS = {
    "zstd": ("<i8", {"chunks": (CHUNK,), **BLOSC(cname="zstd", shuffle=BLOSC.SHUFFLE)}),
    "lz4": ("<u2", {"chunks": (CHUNK,), **BLOSC(cname="lz4", shuffle=BLOSC.BITSHUFFLE)}),
    "bytes": ("u1", {"chunks": (CHUNK,), **BLOSC(clevel=9, shuffle=BLOSC.NOSHUFFLE)}),
    "floats": ("<f8", {"chunks": (LENGTH // 2,), **BLOSC()}),
    "truth": ("?", {"chunks": (CHUNK,), **BLOSC()}),
    "foreign": (">u4", {"chunks": (CHUNK,), **BLOSC()}),
    "checked": ("<i4", {"chunks": (CHUNK,), "fletcher32": True, **BLOSC()}),
    "gzip": ("<i8", {"chunks": (CHUNK,), "compression": "gzip"}),
    "plain": ("<i8", {}),
}
DIRECT = {"zstd", "lz4", "bytes", "floats", "truth"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("columns") / "a.h5"
    with h5py.File(path, "w") as file:
        for name, (kind, options) in LAYOUTS.items():
            values = rng.integers(0, 2, LENGTH).astype(kind)
            file.create_dataset(name, data=values, maxshape=(None,) if options else None, **options)
        hole = file.create_dataset("hole", (LENGTH,), "<i4", chunks=(CHUNK,), **BLOSC())
        hole[:100] = 7  # the chunks behind are never written
        noise = rng.integers(0, 256, LENGTH).astype(np.uint8)  # which HDF5 keeps uncompressed
        file.create_dataset("noise", data=noise, **LAYOUTS["bytes"][1])
    return path


def columns(file):
    return {name: file[name] for name in file}


@given(start=st.integers(0, LENGTH), count=st.integers(0, LENGTH))
@settings(max_examples=40, deadline=None)
def test_any_stretch_is_as_hdf5_reads_it(path, start, count):
    stop = min(start + count, LENGTH)
    with h5py.File(path) as file:
        reader = ColumnReader(columns(file))
        assert reader._direct == {*DIRECT, "hole", "noise"}
        for name, found in reader.begin(start, stop)().items():
            wanted = file[name][start:stop]
            assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
        reader.close()


def test_without_direct_access_hdf5_reads(path, monkeypatch):
    monkeypatch.setattr(blosc, "is_callable", lambda: False)
    before = threading.active_count()
    with h5py.File(path) as file:
        reader = ColumnReader(columns(file))
        found = reader.begin(3, 999)()
        assert threading.active_count() == before and not reader._direct
        reader.close()
        assert all(np.array_equal(found[name], file[name][3:999]) for name in file)


def test_what_can_be_read_directly_is(path, monkeypatch):
    assert blosc.is_callable()  # asked once in a process, with the reading that is taken away here
    monkeypatch.setattr(blosc.Dataset, "__getitem__", None)
    with h5py.File(path) as file:
        reader = ColumnReader({name: file.get(name) for name in DIRECT})
        assert all(len(values) == 996 for values in reader.begin(3, 999)().values())
        reader.close()


@pytest.mark.parametrize("seed", range(30))
def test_damaged_chunks_are_errors_or_other_values(path, tmp_path, seed):
    rng, changed = np.random.default_rng(seed), bytearray(path.read_bytes())
    with h5py.File(path) as file:
        info = file["zstd"].id.get_chunk_info(int(rng.integers(0, LENGTH // CHUNK)))
    for place in rng.integers(0, info.size, rng.integers(1, 20)):
        changed[info.byte_offset + place] = rng.integers(0, 256)
    (tmp_path / "a.h5").write_bytes(changed)
    with h5py.File(tmp_path / "a.h5") as file:
        reader = ColumnReader({"zstd": file["zstd"]})
        with contextlib.suppress(OSError):
            found = reader.begin(0, LENGTH)()["zstd"]
            assert np.array_equal(found, file["zstd"][:])
        reader.close()


@pytest.mark.parametrize("name", ["zstd", "foreign"])  # read directly, and by HDF5
@pytest.mark.parametrize("place, number", [(4, 0), (4, 2**31), (12, 0), (12, 2**20)])
@pytest.mark.parametrize("stretch", [(200, 210), (0, LENGTH)])
def test_a_chunk_whose_header_lies_is_refused(path, tmp_path, name, place, number, stretch):
    """HDF5's filter would read beyond its end, which ends the process."""
    with h5py.File(shutil.copy(path, tmp_path / "a.h5"), "r+") as file:
        _, content = file[name].id.read_direct_chunk((CHUNK,))
        lying = content[:place] + number.to_bytes(4, "little") + content[place + 4 :]
        file[name].id.write_direct_chunk((CHUNK,), lying)
    with h5py.File(tmp_path / "a.h5") as file:
        reader = ColumnReader({name: file[name]})
        with pytest.raises(OSError, match="row 128"):
            reader.begin(*stretch)()
        assert len(reader.begin(0, 100)()[name]) == 100
        reader.close()


@pytest.mark.parametrize("number", [hdf5plugin.SZ.filter_id, hdf5plugin.SZ3.filter_id])
def test_a_filter_that_ends_the_process_is_not_called(path, tmp_path, number):
    """Whose number damage put in the place of Blosc's."""
    old, new = (one.to_bytes(2, "little") for one in (BLOSC.filter_id, number))
    changed = path.read_bytes().replace(old + b"\x08\x00", new + b"\x08\x00")  # name's length
    (tmp_path / "a.h5").write_bytes(changed)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["zstd"].id.get_create_plist().get_filter(0)[0] == number
        with pytest.raises(OSError, match="SZ"):
            ColumnReader({"zstd": file["zstd"]})


@pytest.mark.parametrize("content", [b"", b"x", bytes(16), bytes(99), b"\xff" * 99])
def test_garbage_is_not_decompressed(content):
    assert not blosc.decompress(content, np.empty(64, np.uint8))


@pytest.mark.parametrize("size", [0, 63, 65, 1000])
def test_a_chunk_of_another_size_is_refused(size):
    content = blosc.compress(np.zeros(64, np.uint8))
    assert blosc.decompress(content, np.empty(64, np.uint8))
    assert not blosc.decompress(content, np.empty(size, np.uint8))
    assert not blosc.decompress(content[:-1], np.empty(64, np.uint8))
