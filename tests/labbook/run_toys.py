"""A training script that only pretends, for tests of what starts, watches and stops runs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Acts as its experiment's name says; writes what a real run writes, as far as others look.
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from runfolder.locks import lock_run
from runfolder.records import finish_record, start_record, write_results

def interrupt(*_):
    raise KeyboardInterrupt

def wait_for(path):
    end = time.monotonic() + 30
    while not path.exists():
        if time.monotonic() > end:
            sys.exit(f"{path} never came")
        time.sleep(0.02)

words = sys.argv[sys.argv.index("--config-file") + 1 :]
name = Path(words[0]).stem
overrides = dict(word.split("=", 1) for word in words if "=" in word)
default = f"work_dirs/ofat_{name.removeprefix('ofat_')}"
folder = Path(overrides.get("train.output_dir", default).strip("'"))
print("starting", name, words[1:], flush=True)
marks = Path("marks")
marks.mkdir(exist_ok=True)
(marks / name).touch()
if "crash" in name:
    print("\\n".join(f"line {i}" for i in range(40)))
    raise ImportError("before the record")
signal.signal(signal.SIGTERM, interrupt)
with lock_run(folder):
    start_record(folder, sys.argv)
    saved = Path(f"{name}.saved.yaml")
    if saved.exists():
        (folder / "config.yaml").write_text(saved.read_text())
    if "doomed" in name or ("killed" in name and not (folder / "checkpoint").exists()):
        (folder / "checkpoint").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "fails" in name:
        finish_record(folder, "failed", "the loss is not finite")
        sys.exit(1)
    if "meets" in name:  # a_meets and b_meets run at the same time, or not at all
        gpu = os.environ["CUDA_VISIBLE_DEVICES"]
        if gpu:
            (marks / f"gpu-{gpu}").touch(exist_ok=False)  # an error if another run has it
        (marks / f"threads-{name}").write_text(os.environ.get("OMP_NUM_THREADS", ""))
        wait_for(marks / {"a": "b_meets", "b": "a_meets", "c": "d_meets", "d": "c_meets"}[name[0]])
        (marks / f"gpu-{gpu}").unlink(missing_ok=True)
    try:
        if "long" in name and not (folder / "checkpoint").exists():
            (folder / "ready").touch()
            time.sleep(60)
    except KeyboardInterrupt:
        (folder / "checkpoint").touch()
        finish_record(folder, "interrupted", "asked to")
        sys.exit(130)
    write_results(folder, {"valid": {"bbox/AP50": 50.0}, "test": {}, "data_fingerprint": "same"})
    finish_record(folder, "finished", "done")
"""


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def change_record(folder: Path, **values: Any) -> None:
    """Write other values into ``run.json``; those of a dict are added to what is there."""
    record = json.loads((folder / "run.json").read_text())
    for key, value in values.items():
        record[key] = {**record[key], **value} if isinstance(value, dict) else value
    (folder / "run.json").write_text(json.dumps(record))


def folder_of(root: Path, name: str) -> Path:
    return root / "work_dirs" / f"ofat_{name}"
