"""What processes share besides gradients: batch statistics, means, why and when they stop."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from runfolder.faults import reason_of
from runfolder.provenance import process_start
from smalldet.engine.distributed import mean_over_processes, share_batch_statistics
from smalldet.engine.faults import job
from smalldet.engine.hooks.saving import StopOnRequest

CONTEXT = mp.get_context("forkserver")  # imports once for all processes
CONTEXT.set_forkserver_preload(["smalldet.engine.faults.job", "smalldet.engine.hooks.saving"])


def process(rank: int, port_file: str, found) -> None:
    dist.init_process_group("gloo", init_method=f"file://{port_file}", rank=rank, world_size=2)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch.manual_seed(rank)
    model(torch.randn(8, 2))
    share_batch_statistics(model)
    means = mean_over_processes({"loss": torch.tensor(float(rank))})
    found[rank] = (model[1].running_mean.tolist(), means, steps_until_stop(rank))
    dist.destroy_process_group()


def steps_until_stop(rank: int) -> tuple[int, list[str]]:
    """Steps that a process does of which the second one is asked to stop in its third step."""
    saved: list[str] = []
    saving = SimpleNamespace(is_due=lambda: False, save=lambda: saved.append("saved"))
    hook = StopOnRequest(saving)
    hook.trainer = SimpleNamespace(device=torch.device("cpu"))
    hook.before_train()
    for step in range(1, 9):
        if (rank, step) == (1, 3):
            signal.raise_signal(signal.SIGUSR1)
        try:
            hook.after_step()
        except KeyboardInterrupt:
            return step, saved
    return 0, saved


def test_two_processes_agree(tmp_path):
    with CONTEXT.Manager() as manager:
        found = manager.dict()
        words = (str(tmp_path / "meeting"), found)
        mp.start_processes(process, words, nprocs=2, start_method="forkserver")
        first, second = found[0], found[1]
    assert first == second
    assert first[1:] == ({"loss": 0.5}, (3, ["saved"]))


def slowly(pid: int) -> str | None:
    time.sleep(0.1)
    return process_start(pid)


def end(rank: int, folder: Path, how: str, found) -> None:
    """A process of three, of which the second ends as ``how`` says, and the others with it."""
    os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=3)
    job.CHECK_SECONDS, job.GRACE_SECONDS = 0.05, 0.5
    if rank != 1:  # which may be gone when the others look for it
        job.process_start = slowly
    this = job.Job(folder)

    def note(error: BaseException) -> None:
        found[rank] = (type(error).__name__, reason_of(error))

    try:
        watching = this.watched(note) if how in ("left", "stuck") else nullcontext()
        with watching, this.one_reason(), this.one_reason():  # as for the record and the console
            act(rank, how, this)
    except (Exception, KeyboardInterrupt) as error:
        note(error)


def act(rank: int, how: str, this: job.Job) -> None:
    """What the process does until it ends."""
    if rank == 1 and how in ("killed", "stuck"):
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "lost" and rank != 1:
        raise RuntimeError("[/gloo/transport/tcp/pair.cc:1] Connection reset by peer")
    if rank == 1 and how in ("asked", "fails"):
        raise ValueError("no image")
    if rank == 1:
        return
    if how == "asked":
        while not dist.distributed_c10d._get_default_store().check([job.REASON]):
            time.sleep(0.02)
        raise KeyboardInterrupt
    if how == "killed":  # and its launcher asks the others to end
        while not this._lost():
            time.sleep(0.02)
        raise KeyboardInterrupt
    if how == "stuck":
        dist.recv(torch.zeros(1), src=2 - rank)  # each waits for the other
    if how == "left":
        time.sleep(1.2)  # more than it takes to be called lost
        return
    dist.all_reduce(torch.zeros(1))


def ends(folder: Path, how: str) -> tuple[dict[int, tuple[str, str]], list[int | None]]:
    """What each of three processes ended with, and its exit status; none is left."""
    with CONTEXT.Manager() as manager:
        found = manager.dict()
        three = [CONTEXT.Process(target=end, args=(rank, folder, how, found)) for rank in range(3)]
        for process in three:
            process.start()
        for process in three:
            process.join(30)
        assert not [process.kill() for process in three if process.is_alive()]
        return dict(found), [process.exitcode for process in three]


@pytest.mark.parametrize("how", ["fails", "asked", "lost", "killed", "stuck"])
def test_one_process_says_why_all_end(tmp_path, how):
    found, status = ends(tmp_path, how)
    names, reasons = zip(*found.values(), strict=True)
    (reason,) = set(reasons)
    if how in ("fails", "asked"):
        assert sorted(names) == ["ToldError", "ToldError", "ValueError"]
        assert reason == "ValueError: no image"
    else:
        assert sorted(names) == ["KilledError", "ToldError"]
        assert "of the 3 processes" in reason and reason.count("killed or lost") == 1
    if how in ("killed", "stuck"):
        assert "process 1" in reason and status[1] == -signal.SIGKILL
    if how == "stuck":  # who ends by force says it itself; the other may hear of that in time
        assert 1 in status and (tmp_path / "stderr").read_text().count(reason) == 1


def test_who_has_left_is_not_lost(tmp_path):
    found, status = ends(tmp_path, "left")
    assert found == {} and status == [0, 0, 0]
