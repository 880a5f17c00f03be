"""Blosc as HDF5's filter would apply it, but without holding up other threads.

h5py lets no other Python thread run while HDF5 reads or writes. The library that hdf5plugin
registers with HDF5 also has the plain functions of c-blosc 1, which ctypes calls without Python's
lock.
"""

from __future__ import annotations

import ctypes
import logging
from functools import cache

import numpy as np

from eventcam.io.hdf5 import (
    COMPRESSION,
    COMPRESSOR,
    LEVEL,
    SHUFFLE,
    blosc_library,
    h5_in_memory,
)

LOG = logging.getLogger(__name__)
_OVERHEAD = 16  # bytes by which c-blosc's result can exceed what it was given
_SIZE, _POINTER, _INT = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int


def compress(values: np.ndarray) -> bytes:
    """What the filter of :data:`eventcam.io.hdf5.COMPRESSION` makes of a whole chunk.

    Args:
        values: the chunk, contiguous.

    Raises:
        RuntimeError: c-blosc refused; see :func:`is_callable` first.
    """
    functions = _functions()
    assert functions is not None
    out = np.empty(values.nbytes + _OVERHEAD, np.uint8)
    settings = LEVEL, SHUFFLE, values.itemsize, values.nbytes
    buffers = values.ctypes.data, out.ctypes.data, out.nbytes
    size = functions.blosc_compress_ctx(*settings, *buffers, COMPRESSOR.encode(), 0, 1)
    if size <= 0:
        raise RuntimeError(f"Blosc could not compress {values.nbytes} bytes (status {size}).")
    return out[:size].tobytes()


def decompress(content: bytes, out: np.ndarray) -> bool:
    """Fill ``out`` with a chunk that HDF5's filter has compressed.

    Args:
        content: the compressed chunk.
        out: contiguous, of the size of the chunk.

    Returns:
        Whether it could be done; if not, ``out`` may hold anything.
    """
    functions, size = _functions(), ctypes.c_size_t()
    assert functions is not None
    if functions.blosc_cbuffer_validate(content, len(content), ctypes.byref(size)) < 0:
        return False
    if size.value != out.nbytes:
        return False
    return functions.blosc_decompress_ctx(content, out.ctypes.data, out.nbytes, 1) == out.nbytes


@cache
def is_callable() -> bool:
    """Whether :func:`compress` and :func:`decompress` are there, and agree with HDF5."""
    if _functions() is None:
        LOG.debug("hdf5plugin's library lacks functions of c-blosc; HDF5 calls it by itself.")
        return False
    try:
        works = _agrees_with_hdf5((np.arange(6000) % 7).astype(np.uint8))
    except (OSError, RuntimeError):
        works = False
    if not works:
        LOG.warning("Blosc is left to HDF5, which is slower: called directly it is wrong here.")
    return works


def _agrees_with_hdf5(values: np.ndarray) -> bool:
    with h5_in_memory() as file:
        options = {"chunks": values.shape, **COMPRESSION}
        data = file.create_dataset("data", values.shape, values.dtype, **options)
        content, found = compress(values), np.empty_like(values)
        data.id.write_direct_chunk((0,), content)
        known = decompress(content, found) and np.array_equal(found, values)
        return known and np.array_equal(data[:], values)


@cache
def _functions() -> ctypes.CDLL | None:
    """The library, with the types of the arguments of what is called here."""
    try:
        library = ctypes.CDLL(blosc_library() or "")
        compress_, decompress_ = library.blosc_compress_ctx, library.blosc_decompress_ctx
        validate = library.blosc_cbuffer_validate
    except (OSError, AttributeError):
        return None
    compress_.argtypes = [_INT, _INT, _SIZE, _SIZE, _POINTER, _POINTER, _SIZE]
    compress_.argtypes += [ctypes.c_char_p, _SIZE, _INT]  # compressor, block size, threads
    decompress_.argtypes = [ctypes.c_char_p, _POINTER, _SIZE, _INT]
    validate.argtypes = [ctypes.c_char_p, _SIZE, _POINTER]
    return library
