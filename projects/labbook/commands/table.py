"""``lab.py table STUDY``: the results."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from labbook.commands.arguments import add_only, add_study, study_of
from labbook.config.studies import Study, find_experiments

NAME = "table"
HELP = "compare the results with the baseline; written as Markdown, CSV and LaTeX, too"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study and ``--only``, which takes names of experiments or of run folders."""
    add_study(parser)
    add_only(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print the table and the paths of the files that hold it."""
    show(study_of(options, root), root, options.only)
    return 0


def show(study: Study, root: Path, only: Iterable[str] = ()) -> None:
    """Print the table of a study and write its files.

    Raises:
        ValueError: the runs were not made alike, or a name of ``only`` is unknown.
    """
    from labbook.results.collect import collect
    from labbook.results.tables import print_table, write_tables

    results = collect(study, root, map(study.run_name, find_experiments(study, root)), only)
    print_table(results)
    for path in write_tables(results, root):
        print(path.relative_to(root))
