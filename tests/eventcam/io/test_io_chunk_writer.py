"""Compressing beside the caller: the bytes that HDF5 itself would write, also when things fail."""

from __future__ import annotations

import threading

import h5py
import numpy as np
import pytest

from eventcam.io import blosc, rvt_layout
from eventcam.io.blosc import ChunkWriter

SHAPE = (20, 24, 32)


def entries(count=9, seed=0):
    """Sparse counts, as in histograms; the last one is noise that cannot be made smaller."""
    rng = np.random.default_rng(seed)
    values = rng.poisson(0.1, (count, *SHAPE)).astype(np.uint8)
    values[0], values[-1] = 0, rng.integers(0, 256, SHAPE)
    return values


def create(folder, steps):
    return rvt_layout.create_representations(folder, "none", steps, SHAPE)


def stored(folder):
    """What a reader sees, and the compressed bytes of each entry."""
    with h5py.File(folder / rvt_layout.representation_file("none")) as file:
        data = file["data"]
        return data[:], [data.id.read_direct_chunk((i, 0, 0, 0)) for i in range(len(data))]


def write(folder, values):
    file, data = create(folder, len(values))
    with file, ChunkWriter(data) as writer:
        for entry in values:
            writer.append(entry.copy())
            assert len(writer._waiting) <= blosc._WAITING
    return writer


def test_the_file_is_as_if_hdf5_had_compressed(tmp_path):
    assert blosc.is_callable()
    values = entries()
    assert write(tmp_path / "ours", values).count == len(values)
    file, data = create(tmp_path / "plain", len(values))
    with file:
        for i, entry in enumerate(values):
            data[i] = entry
    (found, ours), (wanted, plain) = stored(tmp_path / "ours"), stored(tmp_path / "plain")
    assert np.array_equal(found, values) and np.array_equal(wanted, values)
    assert ours[:-1] == plain[:-1]  # noise, which no compressor makes smaller, may be kept raw


def test_without_direct_access_hdf5_compresses(tmp_path, monkeypatch):
    monkeypatch.setattr(blosc, "is_callable", lambda: False)
    before = threading.active_count()
    values = entries()
    assert write(tmp_path, values).count == len(values)
    assert np.array_equal(stored(tmp_path)[0], values) and threading.active_count() == before


@pytest.mark.parametrize("library", [None, "no_such_library.so", h5py.h5z.__file__])
def test_a_library_without_the_function_is_noticed(library, monkeypatch):
    monkeypatch.setattr(blosc, "blosc_library", lambda: library)
    blosc._functions.cache_clear()
    try:
        assert not blosc.is_callable.__wrapped__()
    finally:
        blosc._functions.cache_clear()


@pytest.mark.parametrize("made", [b"x", b"nonsense" * 9, bytes(40)])
def test_a_compressor_that_is_wrong_is_not_used(made, monkeypatch, caplog):
    monkeypatch.setattr(blosc, "compress", lambda values: made)
    assert not blosc.is_callable.__wrapped__()
    assert "left to HDF5" in caplog.text


def test_a_failure_of_the_thread_reaches_the_caller(tmp_path, monkeypatch):
    def fail(values):
        raise RuntimeError("no more")

    assert blosc.is_callable()  # which is remembered
    monkeypatch.setattr(blosc, "compress", fail)
    with pytest.raises(RuntimeError, match="no more"):
        write(tmp_path, entries(2))


def test_a_failure_of_the_caller_ends_the_thread(tmp_path):
    before = threading.active_count()
    file, data = create(tmp_path, 9)
    with pytest.raises(KeyError), file, ChunkWriter(data) as writer:
        writer.append(entries()[0])
        raise KeyError
    assert threading.active_count() == before
