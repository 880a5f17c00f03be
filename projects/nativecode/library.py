"""Shared libraries in a cache folder: built once, by one process, whichever comes first."""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nativecode.compiler import (
    TIME_LIMIT,
    NativeCodeError,
    compile_shared,
    describe_target,
    find_compiler,
)


def cache_folder() -> Path:
    """Where built libraries are kept; safe to delete."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "smalldet"


def build(source: Path) -> ctypes.CDLL:
    """The library compiled from the C++ file ``source``, from the cache if it is there.

    Headers (``*.h``) are looked for in its folder; a change of one is a new library too. Processes
    that start together wait for the first one's build.

    Raises:
        NativeCodeError: if there is no library to be had.
    """
    compiler = find_compiler()
    try:
        parts = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
        key = hashlib.sha256(b"".join(parts) + describe_target(compiler).encode()).hexdigest()[:16]
        path = cache_folder() / f"{source.stem}-{key}.so"
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            return _open_or_compile(path, compiler, source)
    except (OSError, RuntimeError) as error:
        if isinstance(error, NativeCodeError):
            raise
        raise NativeCodeError(
            f"{source.name} could not be built in the cache folder ({error}); let XDG_CACHE_HOME "
            "name a folder that can be written."
        ) from error


def _open_or_compile(path: Path, compiler: list[str], source: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # not there yet, or damaged
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            built = Path(folder) / path.name
            compile_shared(compiler, source, built)
            built.replace(path)  # atomic: nobody ever sees half a library
    return ctypes.CDLL(str(path))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``, which the system releases even if this process is killed."""
    try:
        import fcntl
    except ImportError as error:
        raise NativeCodeError("Compiled code needs the file locks of Linux or macOS.") from error
    deadline = time.monotonic() + 2 * TIME_LIMIT
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise NativeCodeError(f"Another process keeps {path} locked.") from None
                time.sleep(0.05)
        yield
