"""``lab.py explain NAME KEY``: where a value comes from."""

from __future__ import annotations

import argparse
from pathlib import Path

from labbook.config.explain import explain
from labbook.config.lineage import find_experiment

NAME = "explain"
HELP = "tell what a key of an experiment is, the line that set it, and what key=value does to it"
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Experiment and key."""
    parser.add_argument("name", metavar="NAME", help="an experiment, as `lab.py list STUDY` shows")
    parser.add_argument(
        "key", metavar="KEY", help="such as train.max_iter; a section lists its own"
    )


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print the explanation."""
    study, config_name = find_experiment(options.name, root, options.debug)
    print(explain(study, config_name, options.key, root, options.overrides))
    return 0
