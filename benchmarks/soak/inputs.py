"""Damaged inputs for one reader, in a child process that is started again when it dies."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time

from benchmarks.soak.parts import Found
from benchmarks.soak.toys import ROOT, environment

SECONDS, START_SECONDS = 60.0, 600.0
"""For one input, and for making the sound one; also on a machine that does something else."""
MOST_FINDINGS = 20


def try_reader(reader: str, count: int, seed: int) -> Found:
    """Have ``count`` inputs read, those of the seeds from ``seed`` on."""
    found, began = Found(f"read_{reader}", "inputs", seed=seed), time.monotonic()
    while found.count < count and len(found.uncaught) < MOST_FINDINGS:
        _listen(reader, count, found)
    found.seconds, found.note = time.monotonic() - began, f"{found.refused:,} refused"
    return found


def _listen(reader: str, count: int, found: Found) -> None:
    """Take down what a child says, until it is through, dead or too slow."""
    first, left = found.seed + found.count, count - found.count
    words = [sys.executable, "-m", "benchmarks.soak.reading", reader, str(first), str(left)]
    with subprocess.Popen(
        words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        limit = START_SECONDS
        while found.count < count:
            ready, _, _ = select.select([child.stdout], [], [], limit)
            if not (line := child.stdout.readline() if ready else b""):
                how = f"died ({child.wait()})" if ready else f"took more than {limit:.0f} s"
                child.kill()
                found.uncaught.append(f"seed {found.seed + found.count}: {how}")
                found.count += 1  # that one is over, too
                return
            _take_down(json.loads(line), found)
            limit = SECONDS


def _take_down(outcome: dict[str, str], found: Found) -> None:
    kind, text = outcome["kind"], f"seed {outcome['seed']}: {outcome['text']}"
    found.count += kind != "ready"
    found.refused += kind == "refused"
    found.uncaught += [text] if kind == "uncaught" else []
    found.silent += [text] if kind == "silent" else []
