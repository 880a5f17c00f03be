#!/usr/bin/env python3
"""Train, resume or evaluate the experiment that a config file describes.

tools/lazyconfig_train_net.py --config-file configs/ofat/NAME.py [--resume] [key=value ...]
tools/lazyconfig_train_net.py --config-file work_dirs/RUN/config.yaml --eval-only
torchrun --nproc-per-node 2 tools/lazyconfig_train_net.py --config-file ...    (CPU or GPU)
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

# Before torch is imported: threads that spin while they wait stall a CPU that others use too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from detectron2.engine import default_argument_parser
from detectron2.utils import comm

from labbook.config.load import load_config, to_plain
from labbook.config.overrides import assignment
from labbook.run.session import recorded_run, sentence_of
from runfolder.records import RunIsRunningError, write_results
from smalldet.engine.distributed import run_distributed
from smalldet.engine.run import run

SENTENCES = (ValueError, FileExistsError, FileNotFoundError, RunIsRunningError, FloatingPointError)


def parse_arguments() -> argparse.Namespace:
    parser = default_argument_parser(epilog=__doc__)
    parser.add_argument("--data-root", help="folder of the data set; the same as dataset.root=...")
    parser.set_defaults(dist_url="auto")
    args = parser.parse_args()
    if not args.config_file:
        parser.error("--config-file is needed, such as configs/ofat/NAME.py")
    if late := [word for word in args.opts if word.startswith("--")]:
        parser.error(f"options such as {late[0]} come before the key=value overrides")
    if args.data_root:
        args.opts.append(assignment("dataset.root", args.data_root))
    if args.eval_only and Path(args.config_file).name == "config.yaml":
        # A run folder may have been moved since it was written; its own best model is meant.
        folder = assignment("train.output_dir", str(Path(args.config_file).parent))
        args.opts[:0] = [folder, assignment("train.init_checkpoint", "")]
    return args


def execute(args: argparse.Namespace) -> None:
    cfg = load_config(args.config_file, args.opts)
    if args.eval_only:
        run(to_plain(cfg), eval_only=True)
    elif comm.is_main_process():
        called = (sys.argv, args.resume, args.config_file, args.opts, comm.get_world_size())
        with recorded_run(cfg, *called) as folder:
            write_results(folder, run(to_plain(cfg), resume=args.resume))
    else:
        run(to_plain(cfg), resume=args.resume)


def main(args: argparse.Namespace) -> None:
    """One process of the job; what goes wrong for a known reason ends in a sentence."""
    try:
        execute(args)
    except KeyboardInterrupt:
        print("Interrupted; the same command with --resume goes on.", file=sys.stderr)
        sys.exit(130)
    except SENTENCES as error:
        logging.getLogger("smalldet").debug("The run ended with an error.", exc_info=True)
        sys.exit(f"{type(error).__name__}: {sentence_of(error)}")


if __name__ == "__main__":
    try:
        run_distributed(main, parse_arguments())
    except torch.multiprocessing.ProcessExitedException as error:
        sys.exit(error.exit_code)  # a process has said why
