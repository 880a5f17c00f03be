"""``lab.py run STUDY``: run what is not finished, here or on a cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labbook.commands import table
from labbook.commands.arguments import add_only, add_study, chosen_experiments, count, study_of
from labbook.config.guard import check_study
from labbook.config.lineage import Family
from labbook.run.gpus import Gpus, find_gpus
from labbook.run.jobs import Job, plan_jobs
from labbook.run.runner import Outcome, RunOptions, run_jobs
from labbook.run.slurm import EXECUTORS, ClusterOptions, submit

NAME = "run"
HELP = "run the experiments that are not finished; key=value changes their configs"
TAKES_OVERRIDES = True
INTERRUPTED = 130  # what a shell reports after Ctrl-C


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study, ``--only``, how often, how many at a time, and where."""
    add_study(parser)
    add_only(parser)
    add = parser.add_argument
    add("--seeds", type=count, default=1, metavar="K", help="runs of each experiment, by seed")
    add("--stale", action="store_true", help="repeat finished runs of older code; those are kept")
    again = (
        "start a run again, up to N times, that was killed or died without a word (default 1); "
        "one that ended with an error, such as a loss that is not finite, would meet it again"
    )
    add("--retries", type=int, default=1, metavar="N", help=again)
    add("--gpus", metavar="0,1", help="these GPUs only; two runs never share one")
    add("--jobs", type=count, metavar="K", help="runs at a time (default: 1, or one for each GPU)")
    add("--processes", type=count, default=1, metavar="N", help="of a run on a machine: its GPUs")
    where = parser.add_argument_group("on a cluster, through submitit (extra [sweep])")
    add = where.add_argument
    add("--executor", choices=EXECUTORS, help="submit the runs; local tries that on this CPU")
    given = "options of sbatch, such as partition=gpu time=600 (minutes) cpus_per_task=16"
    add("--slurm", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=given)
    add("--nodes", type=count, default=1, metavar="N", help="machines of each run")


def execute(options: argparse.Namespace, root: Path) -> int:
    """Run, report what did not finish, and show the table; 0 if every experiment is finished."""
    parameters, overrides = parameters_in(options.slurm)
    overrides = [*options.overrides, *overrides]
    experiments = chosen_experiments(options, root)
    family = Family(study_of(options, root), root, overrides)
    jobs = plan_jobs(family, experiments, options.train_script, options.seeds)
    check_study(family, experiments)
    if options.executor:
        return report(submit(jobs, root, cluster_options(options, parameters)))
    if parameters or options.nodes > 1:
        raise ValueError("--slurm and --nodes need --executor slurm.")
    outcomes, stopped = run_jobs(jobs, root, run_options(options, jobs))
    status = report(outcomes)
    try:
        table.show(family.study, root)
    except ValueError as error:
        print(f"There is no table: {error}", file=sys.stderr)
    return INTERRUPTED if stopped else status


def report(outcomes: Sequence[Outcome]) -> int:
    """Say at the end, with the last lines of its log, what did not finish; 1 if there is any."""
    failed = [outcome for outcome in outcomes if not outcome.is_finished]
    for outcome in failed:
        print(f"\n{outcome.name} {outcome.message}", file=sys.stderr)
        print(outcome.log_tail, file=sys.stderr)
    return 1 if failed else 0


def cluster_options(options: argparse.Namespace, parameters: dict[str, Any]) -> ClusterOptions:
    """How to run on a cluster, given the parameters for it."""
    return ClusterOptions(
        options.executor,
        parameters,
        options.nodes,
        options.processes,
        options.retries,
        options.stale,
    )


def run_options(options: argparse.Namespace, jobs: Sequence[Job]) -> RunOptions:
    """How to run on this machine.

    Raises:
        ValueError: more runs at a time than there are GPUs for.
    """
    on_cpu = all(job.is_on_cpu for job in jobs)
    wanted = [name.strip() for name in (options.gpus or "").split(",") if name.strip()]
    if wanted and on_cpu:
        raise ValueError("--gpus was given, but train.device=cpu. Leave one of them out.")
    gpus = Gpus() if on_cpu else find_gpus(wanted)
    slots = options.jobs or max(1, len(wanted) // options.processes)
    if gpus.names and slots * options.processes > len(gpus.names):
        raise ValueError(
            f"{slots} runs at a time with {options.processes} GPUs each need "
            f"{slots * options.processes}, and there are {len(gpus.names)} "
            f"({', '.join(gpus.names)}). Give a smaller --jobs; two runs never share a GPU."
        )
    per_run = options.processes
    return RunOptions(slots, options.retries, options.stale, per_run, gpus)


def parameters_in(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The words after ``--slurm``: parameters, and the config overrides that follow them.

    Raises:
        ValueError: a word is neither.
    """
    parameters: dict[str, Any] = {}
    overrides = []
    for word in words:
        key, equals, value = word.partition("=")
        if word.startswith(("+", "~")) or "." in key:
            overrides.append(word)
        elif equals:
            parameters[key] = int(value) if value.isdigit() else value
        else:
            raise ValueError(f"--slurm takes KEY=VALUE, such as partition=gpu; found '{word}'.")
    return parameters, overrides
