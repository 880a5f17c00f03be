"""``lab.py run STUDY``: run what is not finished."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from labbook.commands import table
from labbook.commands.arguments import add_only, add_study, chosen_experiments
from labbook.runner import plan_jobs, run_jobs

NAME = "run"
HELP = "run the experiments that are not finished; key=value changes their configs"
TAKES_OVERRIDES = True
INTERRUPTED = 130  # what a shell reports after Ctrl-C


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study and ``--only``."""
    add_study(parser)
    add_only(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Run, report what did not finish, and show the table; 0 if every experiment is finished."""
    jobs = plan_jobs(chosen_experiments(options, root), root, options.overrides)
    outcomes, stopped = run_jobs(jobs, root, options.overrides)
    for outcome in outcomes:
        if not outcome.is_finished:
            print(f"\n{outcome.name} {outcome.message}", file=sys.stderr)
            print(outcome.log_tail, file=sys.stderr)
    table.execute(options, root)
    if stopped:
        return INTERRUPTED
    return 0 if all(outcome.is_finished for outcome in outcomes) else 1
