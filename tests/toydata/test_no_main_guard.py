"""Scripts without ``if __name__ == "__main__"`` come to an end: spawned workers run them again."""

from __future__ import annotations

import subprocess
import sys

SECONDS = 180  # a script that hangs is stopped then
HEADER = """
from pathlib import Path
from eventcam.dataset import EventRecordings
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.recording import Preparation
from toydata.streets import GeneratedRecordings
street = GeneratedRecordings(train=1, val=1, test=1, seconds=0.4, width=160, height=120)
"""


def run_script(folder, body):
    """A plain script in ``folder`` as a process of its own."""
    (folder / "plain.py").write_text(HEADER + body)
    command = [sys.executable, "plain.py"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_a_data_set_that_generates_itself_needs_no_processes(tmp_path):
    done = run_script(
        tmp_path,
        'found = EventRecordings("street", downsample="none", generate=street)\n'
        'print([r.name for r in found.recordings("val")])\n'
        'print(prepare_all(Path("street_raw"), Path("again"), Preparation()).prepared)\n',
    )
    assert done.returncode == 0, done.stderr
    assert "['val_day_0001']" in done.stdout and "train/train_day_0001" in done.stdout


def test_workers_asked_for_end_in_pythons_own_error(tmp_path):
    street = run_script(tmp_path, 'street.ensure(Path("raw"), workers=2)\n')
    prepared = run_script(
        tmp_path,
        'street.ensure(Path("raw"))\n'
        'print("without workers it is made")\n'
        'prepare_all(Path("raw"), Path("out"), Preparation(), workers=2)\n',
    )
    for done in (street, prepared):
        assert done.returncode != 0
        assert "if __name__ == '__main__':" in done.stderr and "BrokenProcessPool" in done.stderr
        assert done.stderr.count("bootstrapping phase") == 1
    assert "without workers it is made" in prepared.stdout
