"""``lab.py table STUDY``: the results."""

from __future__ import annotations

import argparse
from pathlib import Path

from labbook.commands.arguments import add_study, study_of
from labbook.studies import find_experiments
from labbook.tables import collect, print_table, write_tables

NAME = "table"
HELP = "show the results and write them as Markdown and CSV"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study."""
    add_study(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print the table and the paths of the files that hold it."""
    study = study_of(options)
    rows = collect(study, root, map(study.run_name, find_experiments(study, root)))
    print_table(study, rows)
    for path in write_tables(study, rows, root):
        print(path.relative_to(root))
    return 0
