"""Arguments that several sub-commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from labbook.config.studies import Study, find_experiments, get_study, select


def add_study(parser: argparse.ArgumentParser) -> None:
    """The positional argument STUDY; :func:`study_of` reads it."""
    parser.add_argument("study", metavar="STUDY", help="a folder of configs/")


def add_only(parser: argparse.ArgumentParser) -> None:
    """The option ``--only NAME ...``; :func:`chosen_experiments` reads it."""
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="NAME", help="just these"
    )


def study_of(options: argparse.Namespace, root: Path) -> Study:
    """The study that the command line names, with ``--debug`` at toy size.

    Raises:
        ValueError: there is none of that name.
    """
    return get_study(options.study, root, options.debug)


def chosen_experiments(options: argparse.Namespace, root: Path) -> dict[str, Path]:
    """Config files by config name, relative to ``root``: those of ``--only``, or all.

    Raises:
        ValueError: a name is unknown, or the study has no configs.
    """
    study = study_of(options, root)
    experiments = find_experiments(study, root)
    return select(study, experiments, options.only) if options.only else experiments


def count(text: str) -> int:
    """A number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number
