"""Starting one or several processes: directly, by Detectron2's ``launch``, under ``torchrun``."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import launch
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from smalldet.engine.faults.job import end_process


def started_by_torchrun() -> bool:
    """Whether the environment says that torchrun started this process."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"} <= os.environ.keys()


def run_distributed(main: Callable[..., None], args: Any) -> None:
    """Call ``main(args)`` once in every process of the job.

    Args:
        main: Called as ``main(args)``.
        args: Detectron2's launch arguments: ``num_gpus``, ``num_machines``, ``machine_rank``,
            ``dist_url`` ("auto": a file of this machine). Under torchrun they are not read; its
            processes use NCCL with GPUs and gloo without.
    """
    if started_by_torchrun():
        _join_torchrun_job()
        _in_one_of_several(main, args)
        dist.destroy_process_group()
        return
    if args.num_gpus * args.num_machines > 1 and not torch.cuda.is_available():
        raise SystemExit(
            f"--num-gpus {args.num_gpus} was asked for and no GPU is usable. Leave it out to train "
            "on the CPU, or start several CPU processes with: torchrun --nproc-per-node N "
            "tools/lazyconfig_train_net.py ..."
        )
    if args.num_gpus * args.num_machines == 1:
        main(args)
        return
    with tempfile.TemporaryDirectory(prefix="smalldet_") as folder:
        # A file outlives each of the processes, and takes no port from others.
        is_here = args.dist_url == "auto" and args.num_machines == 1
        launch(
            partial(_in_one_of_several, main),
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=f"file://{folder}/processes" if is_here else args.dist_url,
            args=(args,),
        )


def _in_one_of_several(main: Callable[..., None], args: Any) -> None:
    """Call ``main``; where it ends the process, that happens at once."""
    # One that is asked to end, because another one has failed, can then look for the reason.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main(args)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        end_process(end.code if isinstance(end.code, int) else int(end.code is not None))


def _join_torchrun_job() -> None:
    local_rank = int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    # Detectron2 asks for the group of the processes on this machine; only its launch() makes one.
    local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    for first in range(0, dist.get_world_size(), local_size):
        ranks = list(range(first, first + local_size))
        group = dist.new_group(ranks)
        if dist.get_rank() in ranks:
            comm._LOCAL_PROCESS_GROUP = group


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
