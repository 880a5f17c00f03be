"""The training command with ``--num-gpus``, on CPUs: Detectron2 0.5 starts no processes there."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.utils import comm

from console.main import main
from smalldet.engine import distributed


def worker(rank: int, function, count: int, url: str, args) -> None:
    dist.init_process_group("gloo", init_method=url, rank=rank, world_size=count)
    comm._LOCAL_PROCESS_GROUP = dist.new_group(list(range(count)))
    function(*args)


def launch(function, count: int, *, dist_url: str, args, **_) -> None:
    mp.spawn(worker, (function, count, dist_url, args), nprocs=count)


if __name__ == "__main__":
    torch.cuda.is_available = lambda: True  # here; the processes see what there is
    distributed.launch = launch
    sys.exit(main(["train", *sys.argv[1:]]))
