"""``lab.py diff NAME``: what an experiment changes."""

from __future__ import annotations

import argparse
from pathlib import Path

from labbook.config.differences import show_differences
from labbook.config.lineage import find_experiment

NAME = "diff"
HELP = "show the resolved difference of an experiment to its parent and to the baseline"
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Experiment."""
    parser.add_argument("name", metavar="NAME", help="an experiment, as `lab.py list STUDY` shows")


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print the difference; 1 if the experiment does not declare all of it."""
    study, config_name = find_experiment(options.name, root, options.debug)
    text, is_declared = show_differences(study, config_name, root, options.overrides)
    print(text)
    return 0 if is_declared else 1
