"""A run folder is held by one process, and says by which; stale locks are recognised."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import multiprocessing
import os
import socket
import time
from pathlib import Path

import psutil
import pytest

from runfolder.locks import Owner, lock_run, owner_of
from runfolder.names import LOCK
from runfolder.provenance import process_start
from runfolder.records import RunIsRunningError


def hold(folder: str, ready, leave) -> None:
    """Hold it, with a child as data loaders have them, which lives longer."""
    with lock_run(Path(folder)):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        ready.set()
        leave.wait(30)


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_two_processes_never_hold_one_folder(tmp_path, end, caplog):
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    other = context.Process(target=hold, args=(str(tmp_path), ready, leave))
    other.start()
    assert ready.wait(30)
    owner = owner_of(tmp_path)
    assert owner is not None and owner.pid == other.pid and owner.is_alive_here()
    with (
        pytest.raises(RunIsRunningError, match=rf"trains in .* \(process {other.pid} on .*since"),
        lock_run(tmp_path),
    ):
        pytest.fail("both hold it")
    (child,) = psutil.Process(other.pid).children()
    leave.set() if end == "leaves" else other.kill()
    while other.exitcode is None:  # join() would wait for the child, too
        time.sleep(0.01)
    with caplog.at_level(logging.WARNING), lock_run(tmp_path):
        assert not owner.is_alive_here() and child.is_running()
    child.kill()
    stale = [record for record in caplog.records if "stale" in record.getMessage()]
    assert len(stale) == (0 if end == "leaves" else 1)
    assert not stale or f"process {other.pid} on" in stale[0].getMessage()


@pytest.mark.parametrize(
    ("pid", "refused"), [(os.getpid(), True), (2**22 + 1, False)], ids=["living", "dead"]
)
def test_without_locks_of_the_file_system_the_owner_decides(tmp_path, monkeypatch, pid, refused):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    start = process_start(os.getpid())
    owner = {"pid": pid, "host": socket.gethostname(), "since": "then", "process_start": start}
    (tmp_path / LOCK).write_text(json.dumps(owner))
    if refused:
        with pytest.raises(RunIsRunningError), lock_run(tmp_path):
            pytest.fail("held")
    else:
        with lock_run(tmp_path):
            assert owner_of(tmp_path).pid == os.getpid()


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}', "[]"])
def test_a_lock_file_that_says_nothing_can_be_taken(tmp_path, content):
    (tmp_path / LOCK).write_text(content)
    with lock_run(tmp_path):
        owner = Owner(**json.loads((tmp_path / LOCK).read_text()))
        assert (owner.pid, owner.host) == (os.getpid(), socket.gethostname())
    assert owner_of(tmp_path) is None and owner_of(tmp_path / "nothing") is None
