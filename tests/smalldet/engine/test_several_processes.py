"""What processes share besides gradients: batch statistics, means, the wish to stop."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from smalldet.engine.distributed import mean_over_processes, share_batch_statistics
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
