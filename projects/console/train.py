"""Train, resume or evaluate the experiment that a config file describes.

%(prog)s --config-file configs/ofat/NAME.py [--resume] [key=value ...]
%(prog)s --config-file work_dirs/RUN/config.yaml --eval-only
torchrun --nproc-per-node 2 tools/lazyconfig_train_net.py --config-file ...    (CPU or GPU)
"""

from __future__ import annotations

import logging
import sys
import threading
from argparse import REMAINDER, ArgumentParser, Namespace, RawTextHelpFormatter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from console.home import add_trust, find_config, train_script


def main(arguments: Sequence[str], prog: str) -> int:
    """Train in one process or several; the exit status."""
    args = parse(arguments, prog)
    from torch.multiprocessing import ProcessExitedException

    from smalldet.engine.distributed import run_distributed

    logging.raiseExceptions = False  # where nobody reads the output any more, training goes on
    threading.excepthook = _log_thread
    try:
        run_distributed(train, args)
    except ProcessExitedException as error:
        return error.exit_code  # a process has said why
    return 0


def _log_thread(args: threading.ExceptHookArgs) -> None:
    """Threads that write metrics pass their errors on to the main thread, which ends with them."""
    log = logging.getLogger("smalldet")
    log.warning(f"A thread ended with an error: {args.exc_value}")
    log.debug("Its traceback:", exc_info=args.exc_value)


def parse(arguments: Sequence[str], prog: str) -> Namespace:
    """The options of Detectron2's own scripts, ``--data-root`` and ``--trust``."""
    parser = ArgumentParser(prog=prog, description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("--config-file", default="", metavar="FILE", help="path to config file")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--eval-only", action="store_true", help="perform evaluation only")
    parser.add_argument("--num-gpus", type=int, default=1, help="number of gpus *per machine*")
    parser.add_argument("--num-machines", type=int, default=1, help="total number of machines")
    parser.add_argument("--machine-rank", type=int, default=0, help="the rank of this machine")
    parser.add_argument("--dist-url", default="auto", help="where the processes meet")
    parser.add_argument("--data-root", help="folder of the data set; the same as dataset.root=...")
    add_trust(parser)
    parser.add_argument("opts", nargs=REMAINDER, help="key=value for the config")
    args = parser.parse_args(arguments)
    if not args.config_file:
        parser.error("--config-file is needed, such as configs/ofat/NAME.py")
    if late := [word for word in args.opts if word.startswith("--")]:
        parser.error(f"options such as {late[0]} come before the key=value overrides")
    script = sys.argv[0] if sys.argv[0].endswith(".py") else train_script()
    args.command = [script, *arguments]
    return _resolved(args)


def _resolved(args: Namespace) -> Namespace:
    """With the path of the config file, and options that stand for overrides made ones."""
    from labbook.config.overrides import assignment

    args.config_file = find_config(args.config_file)
    if args.data_root:
        args.opts.append(assignment("dataset.root", args.data_root))
    if args.eval_only and Path(args.config_file).name == "config.yaml":
        # A run folder may have been moved since it was written; its own best model is meant.
        folder = assignment("train.output_dir", str(Path(args.config_file).parent))
        args.opts[:0] = [folder, assignment("train.init_checkpoint", "")]
    return args


def execute(args: Namespace) -> None:
    """One process of the job."""
    from detectron2.utils import comm

    from labbook.config.load import load_config, to_plain
    from labbook.run.session import record_loss, recorded_loss, recorded_run
    from runfolder.records import write_results
    from runfolder.trust import trust
    from smalldet.engine.faults.job import Job
    from smalldet.engine.run import run

    for module in args.trust:  # in each process
        trust(module)
    cfg = load_config(args.config_file, args.opts)
    folder = Path(cfg.train.get("output_dir", "."))
    job = Job(folder)
    with job.watched(partial(record_loss, folder)), job.one_reason():
        if args.eval_only:
            run(to_plain(cfg), eval_only=True)
        elif comm.is_main_process():
            called = (args.command, args.resume, args.config_file, args.opts, comm.get_world_size())
            with recorded_run(cfg, *called), job.one_reason():
                write_results(folder, run(to_plain(cfg), resume=args.resume))
        else:
            with recorded_loss(folder), job.one_reason():
                run(to_plain(cfg), resume=args.resume)


def train(args: Namespace) -> None:
    """One process of the job; what goes wrong for a known reason ends in a sentence."""
    from runfolder.faults import KilledError, ToldError, reason_of
    from runfolder.records import RunIsRunningError

    known = (ValueError, OSError, RunIsRunningError, FloatingPointError, KilledError)
    try:
        execute(args)
    except KeyboardInterrupt:
        print("Interrupted; the same command with --resume goes on.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        raise  # whose it is, the end of the program knows
    except Exception as error:
        logging.getLogger("smalldet").debug("The run ended with an error.", exc_info=True)
        if isinstance(error, ToldError):
            sys.exit(1)  # another process has said why
        if not isinstance(error, known):
            raise
        sys.exit(reason_of(error))
