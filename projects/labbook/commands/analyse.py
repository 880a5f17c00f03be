"""``lab.py analyse STUDY``: how the runs learned, from their logs."""

from __future__ import annotations

import argparse
from pathlib import Path

from labbook.commands.arguments import add_study, study_of

NAME = "analyse"
HELP = "how the runs learned: speed, steadiness, plateaus, overfitting, memory and time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study."""
    add_study(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print the tables and the paths of the files that hold them."""
    from labbook.results.training import analyse, print_analysis, write_analysis

    analysis = analyse(study_of(options, root), root)
    print_analysis(analysis)
    for path in write_analysis(analysis, root):
        print(path.relative_to(root))
    return 0
