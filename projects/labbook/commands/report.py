"""``lab.py report STUDY``: one HTML page on all runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from labbook.commands.arguments import add_only, add_study, study_of
from labbook.config.studies import find_experiments

NAME = "report"
HELP = "write a page with plots, error analysis and pictures; opens in any browser"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study and ``--only``, which takes names of experiments or of run folders."""
    add_study(parser)
    add_only(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Write the page and the error analysis, and print their paths."""
    from labbook.report.page import write_report
    from labbook.results.collect import collect

    study = study_of(options, root)
    names = map(study.run_name, find_experiments(study, root))
    for path in write_report(collect(study, root, names, options.only), root):
        print(path.relative_to(root))
    return 0
