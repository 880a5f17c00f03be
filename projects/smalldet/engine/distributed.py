"""Starting one or several processes: directly, by Detectron2's ``launch``, under ``torchrun``."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import launch
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from runfolder.faults import KilledError, ToldError, causes, named, reason_of

_REASON = "why the job ended"  # key in the store that all processes of the job share
_LOST = re.compile(r"/gloo/|ncclRemoteError|[Cc]onnection (closed|reset)|recvValue failed")


def started_by_torchrun() -> bool:
    """Whether the environment says that torchrun started this process."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"} <= os.environ.keys()


def run_distributed(main: Callable[..., None], args: Any) -> None:
    """Call ``main(args)`` once in every process of the job.

    Args:
        main: Called as ``main(args)``.
        args: Detectron2's launch arguments: ``num_gpus``, ``num_machines``, ``machine_rank``,
            ``dist_url`` ("auto": a free port). Under torchrun they are not read; its processes
            use NCCL with GPUs and gloo without.
    """
    if started_by_torchrun():
        _join_torchrun_job()
        try:
            main(args)
        finally:
            dist.destroy_process_group()
        return
    if args.num_gpus * args.num_machines > 1 and not torch.cuda.is_available():
        raise SystemExit(
            f"--num-gpus {args.num_gpus} was asked for and no GPU is usable. Leave it out to train "
            "on the CPU, or start several CPU processes with: torchrun --nproc-per-node N "
            "tools/lazyconfig_train_net.py ..."
        )
    launch(
        main,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )


def _join_torchrun_job() -> None:
    local_rank = int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    # One that torchrun asks to end, because another one has failed, can then look for the reason.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    # Detectron2 asks for the group of the processes on this machine; only its launch() makes one.
    local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    for first in range(0, dist.get_world_size(), local_size):
        ranks = list(range(first, first + local_size))
        group = dist.new_group(ranks)
        if dist.get_rank() in ranks:
            comm._LOCAL_PROCESS_GROUP = group


@contextmanager
def one_reason(folder: Path) -> Iterator[None]:
    """Have what breaks the block off say why in a sentence, and once for all processes of the job.

    Where one fails, the others lose it in the middle of an exchange, or are asked to end: they then
    raise :class:`ToldError` with its reason.

    Args:
        folder: of the run.

    Raises:
        KilledError: a process is gone that has not said why.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if comm.get_world_size() > 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends already, and has to say why
        fault = named(error, folder)
        if comm.get_world_size() > 1 and not isinstance(fault, ToldError):
            fault = _first_told(fault)
        if fault is error:
            raise
        raise fault from error


def _first_told(error: BaseException) -> BaseException:
    """The error, or what another process of the job has met before it."""
    lost = next((c for c in causes(error) if _LOST.search(str(c))), None)
    if lost is not None and not isinstance(error, KilledError):
        error = KilledError(
            f"Another of the {comm.get_world_size()} processes of the run was killed or lost "
            f"({lost}). The same command with --resume goes on."
        )
    mine = f"{comm.get_rank()} {reason_of(error)}"
    store = dist.distributed_c10d._get_default_store()
    try:
        if isinstance(error, KeyboardInterrupt):
            first = store.get(_REASON).decode() if store.check([_REASON]) else mine
        else:
            first = store.compare_set(_REASON, "", mine).decode()
    except RuntimeError:  # it was in the process that is gone
        return error
    rank, _, reason = first.partition(" ")
    return error if int(rank) == comm.get_rank() else ToldError(reason)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, or the model itself."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def mean_over_processes(values: dict[str, torch.Tensor]) -> dict[str, float]:
    """Mean over all processes of scalar tensors with the same names in each process."""
    stacked = torch.stack([v.detach().float() for v in values.values()])
    if comm.get_world_size() > 1:
        dist.all_reduce(stacked)
        stacked = stacked / comm.get_world_size()
    return dict(zip(values, stacked.tolist(), strict=True))


def share_batch_statistics(model: nn.Module) -> None:
    """Average the running statistics of batch norms over all processes.

    Each process has seen its own part of the batch. Afterwards all have the same model, so that
    they score one and the same, and a checkpoint of the first speaks for all.
    """
    if comm.get_world_size() == 1:
        return
    statistics = [
        buffer
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]
    if not statistics:
        return
    flat = torch.cat([buffer.flatten() for buffer in statistics])
    dist.all_reduce(flat)
    flat /= comm.get_world_size()
    for buffer, mean in zip(statistics, flat.split([b.numel() for b in statistics]), strict=True):
        buffer.copy_(mean.view_as(buffer))
