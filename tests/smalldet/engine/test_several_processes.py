"""What processes share besides gradients: batch statistics, means, why and when they stop."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from runfolder.faults import reason_of
from smalldet.engine.distributed import (
    _REASON,
    mean_over_processes,
    one_reason,
    share_batch_statistics,
)
from smalldet.engine.hooks.saving import StopOnRequest


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
    context = mp.get_context("spawn")
    with context.Manager() as manager:
        found = manager.dict()
        mp.spawn(process, args=(str(tmp_path / "meeting"), found), nprocs=2)
        first, second = found[0], found[1]
    assert first == second
    assert first[1:] == ({"loss": 0.5}, (3, ["saved"]))


def end(rank: int, folder: Path, how: str, found) -> None:
    """A process of three, of which the second ends as ``how`` says, and the others with it."""
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=3)
    try:
        with one_reason(folder), one_reason(folder):  # as for the record and for the console
            if how == "lost":
                if rank != 1:
                    raise RuntimeError("[/gloo/transport/tcp/pair.cc:1] Connection reset by peer")
                return
            if rank == 1:
                raise ValueError("no image")
            if how == "asked":
                while not dist.distributed_c10d._get_default_store().check([_REASON]):
                    time.sleep(0.02)
                raise KeyboardInterrupt
            dist.all_reduce(torch.zeros(1))
    except (Exception, KeyboardInterrupt) as error:
        found[rank] = (type(error).__name__, reason_of(error))


@pytest.mark.parametrize("how", ["fails", "asked", "lost"])
def test_one_process_says_why_all_end(tmp_path, how):
    context = mp.get_context("spawn")
    with context.Manager() as manager:
        found = manager.dict()
        three = [
            context.Process(target=end, args=(rank, tmp_path, how, found)) for rank in range(3)
        ]
        for process in three:
            process.start()
        for process in three:
            process.join(60)
        alive = [process.kill() for process in three if process.is_alive()]
        assert not alive
        names, reasons = zip(*dict(found).values(), strict=True)
    (reason,) = set(reasons)
    if how == "lost":
        assert sorted(names) == ["KilledError", "ToldError"]
        assert "of the 3 processes" in reason and reason.count("killed or lost") == 1
    else:
        assert sorted(names) == ["ToldError", "ToldError", "ValueError"]
        assert reason == "ValueError: no image"
