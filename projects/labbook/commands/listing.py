"""``lab.py list STUDY``: experiments and their status."""

from __future__ import annotations

import argparse
from pathlib import Path

from labbook.commands.arguments import add_study, study_of
from labbook.records import run_status
from labbook.studies import find_experiments

NAME = "list"
HELP = "list the experiments and their status"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study."""
    add_study(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print a line for each experiment."""
    study = study_of(options)
    for name in find_experiments(study, root):
        folder = Path(study.work_folder) / study.run_name(name)
        print(f"{name:40} {run_status(root / folder):12} {folder}")
    return 0
