"""GPUs are lent to one run at a time, also if its runner is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from labbook.run.gpus import Gpus, find_gpus


@pytest.fixture(autouse=True)
def marks(tmp_path, monkeypatch) -> Path:
    """Where GPUs are marked as lent."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_gpu_is_lent_once_and_comes_back():
    ours, theirs = Gpus({"0": "0", "1": "1"}), Gpus({"1": "1", "0": "0"})  # as two runners see them
    first, second = ours.lease(1), theirs.lease(1)
    assert first and second
    assert (first.gpus, second.gpus) == (("0",), ("1",))
    assert first.environment == {"CUDA_VISIBLE_DEVICES": "0"}
    assert ours.lease(1) is None
    first.release()
    assert theirs.lease(2) is None, "one is not two, and that one stays free"
    again = theirs.lease(1)
    assert again is not None and again.gpus == ("0",)
    again.release()
    second.release()
    both = ours.lease(2)
    assert both is not None and both.environment == {"CUDA_VISIBLE_DEVICES": "0,1"}
    both.release()


def test_a_run_keeps_its_gpu_when_the_runner_is_gone():
    gpus = Gpus({"0": "0"})
    lease = gpus.lease(1)
    assert lease is not None
    run = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=lease.locks
    )
    lease.release()  # as the system does it for a killed runner
    assert gpus.lease(1) is None
    run.communicate(b"\n")
    after = gpus.lease(1)
    assert after is not None
    after.release()


def test_gpus_are_known_by_their_unique_id(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, GPU-aa'\necho '1, GPU-bb'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = find_gpus()
    assert found.names == {"0": "GPU-aa", "1": "GPU-bb"}
    lease = find_gpus(["1"]).lease(1)
    assert lease is not None and (tmp_path / "labbook-GPU-bb.lock").exists()
    lease.release()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert list(find_gpus().names) == ["1"]
    with pytest.raises(ValueError, match=r"names GPU 0, but there are 1 \(CUDA_VISIBLE_DEVICES=1"):
        find_gpus(["0"])
    program.write_text("#!/bin/sh\nexit 9\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert not find_gpus().names
