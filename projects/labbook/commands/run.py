"""``lab.py run STUDY``: run what is not finished, here or on a cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labbook.config.guard import check_study
from labbook.config.lineage import Family
from labbook.config.studies import find_experiments, get_study
from labbook.run.gpus import Gpus, find_gpus
from labbook.run.jobs import Job, plan_jobs
from labbook.run.runner import Outcome, RunOptions, run_jobs
from labbook.run.slurm import ClusterOptions, submit

INTERRUPTED = 130  # what a shell reports after Ctrl-C


def execute(options: argparse.Namespace, root: Path) -> int:
    """Run, report what did not finish, and show the table; 0 if every experiment is finished."""
    parameters, overrides = parameters_in(options.slurm)
    study = get_study(options.study, root, options.debug)
    experiments = find_experiments(study, root, options.only)
    family = Family(study, root, [*options.overrides, *overrides])
    jobs = plan_jobs(family, experiments, options.train_script, options.seeds)
    check_study(family, experiments)
    if options.executor:
        counts = options.nodes, options.processes, options.retries
        cluster = ClusterOptions(options.executor, parameters, *counts, options.stale)
        return report(submit(jobs, root, cluster))
    if parameters or options.nodes > 1:
        raise ValueError("--slurm and --nodes need --executor slurm.")
    outcomes, stopped = run_jobs(jobs, root, run_options(options, jobs))
    status = report(outcomes)
    from labbook.commands.results import print_table  # needs pandas, which takes its time to load

    try:
        print_table(study, root)
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
    return RunOptions(slots, options.retries, options.stale, options.processes, gpus)


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
