"""The child process that reads damaged inputs: python -m benchmarks.soak.reading READER SEED COUNT

Says a line of JSON when it is ready and one for each input. A finding is repeated by its seed.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import psutil

from benchmarks.soak.mutate import damage
from benchmarks.soak.readers import READERS, Reader

MEMORY = 1536 * 2**20
"""Bytes that may be taken on top of what the sound sample took."""


def main() -> None:
    name, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    reader, out = READERS[name], os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries of readers print, in C, too
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="soak_") as scratch:
        home = Path(scratch)
        with _quiet():
            reader.make(home / "sound")
            shutil.copytree(home / "sound", home / "input")
            expected = reader.read(home / "input", Random(first))
        limit = psutil.Process().memory_info().vms + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        print(json.dumps({"seed": first, "kind": "ready", "text": ""}), file=out)
        for seed in range(first, first + count):
            kind, text = outcome_of(reader, home, seed, expected)
            print(json.dumps({"seed": seed, "kind": kind, "text": text}), file=out)


def outcome_of(reader: Reader, home: Path, seed: int, expected: Any) -> tuple[str, str]:
    """What becomes of the input of a seed: ``read``, ``refused``, ``uncaught`` or ``silent``."""
    rng, folder = Random(seed), home / "input"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(home / "sound", folder)
    file = rng.choice(sorted(p for pattern in reader.files for p in folder.glob(pattern)))
    damage(file, rng)
    name = file.relative_to(folder)
    try:
        with _quiet():
            found = reader.read(folder, rng)
    except reader.sentences as error:
        return "refused", f"{name}: {str(error)[:200]}"
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        places = ", ".join(f"{Path(one.filename).name}:{one.lineno}" for one in frames)
        return "uncaught", f"{name}: {type(error).__name__} {str(error)[:200]} ({places})"
    if reader.is_sealed and found != expected:
        return "silent", f"{name}: was read, and is not what was written"
    return "read", str(name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


if __name__ == "__main__":
    main()
