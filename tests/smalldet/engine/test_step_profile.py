"""Watching some steps with torch's profiler."""

from __future__ import annotations

import gzip
import json

from toys import toy_trainer

from smalldet.engine.hooks.profile import Profile, steps_to_profile


def train(folder, steps, start=0, stop=4):
    trainer = toy_trainer()
    trainer.register_hooks([Profile(steps_to_profile(steps), folder)])
    trainer.train(start, stop)
    return folder / "profile"


def test_leaves_a_table_and_a_trace(tmp_path):
    assert steps_to_profile("1:3") == range(1, 3) and not steps_to_profile("")
    folder = train(tmp_path, "1:3")
    table = (folder / "top_operations.txt").read_text()
    calls = next(line for line in table.splitlines() if "AdamW.step" in line).split()[-1]
    assert int(calls) == 2
    (trace,) = folder.glob("*.pt.trace.json.gz")
    assert json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]


def test_a_run_that_ends_within_leaves_what_it_has_seen(tmp_path):
    assert (train(tmp_path, "2:100") / "top_operations.txt").exists()


def test_a_run_that_is_resumed_behind_them_watches_nothing(tmp_path):
    assert not train(tmp_path, "0:2", start=2).exists()
