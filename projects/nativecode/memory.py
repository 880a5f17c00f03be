"""How the C library treats freed memory."""

from __future__ import annotations

import ctypes
import os
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt's names for them, from malloc.h
USER_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@cache
def keep_freed_memory() -> bool:
    """Let the process keep up to 64 MiB of freed memory for what it allocates next.

    glibc gives memory back as soon as twice the size of the largest block so far is free, so the
    buffers of each layer of a network come back page by page, cleared, for the next layer: a third
    of the time of a small ViM on a CPU. The values set here are those that glibc moves to by
    itself once a block of 32 MiB was freed.

    Returns:
        Whether it was done: not without glibc, nor where the environment has its own settings.
    """
    if any(name in os.environ for name in USER_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(MMAP_THRESHOLD, 32 << 20)) and bool(mallopt(TRIM_THRESHOLD, 64 << 20))
