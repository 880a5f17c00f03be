"""``lab.py clean STUDY``: remove its runs and the files that were made from its data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from labbook.commands.arguments import add_only, add_study, chosen_experiments, study_of
from labbook.run.clean import Removable, find_removable, remove, size_of

NAME = "clean"
HELP = "list run folders and the annotation files made from its data, ask, and remove just those"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study, ``--only``, ``--yes``."""
    add_study(parser)
    add_only(parser)
    parser.add_argument("--yes", action="store_true", help="remove without asking")


def execute(options: argparse.Namespace, root: Path) -> int:
    """List, ask, remove; 1 if something could not be removed."""
    study = study_of(options, root)
    names = map(study.run_name, chosen_experiments(options, root)) if options.only else ()
    found = find_removable(study, root, names)
    show(found, root)
    count = len(found.run_folders) + len(found.derived_files)
    if not count:
        print("There is nothing to remove.")
        return 0
    if not (options.yes or confirmed(f"Remove these {count} for good? [y/N] ")):
        print("Nothing was removed.")
        return 0
    problems = remove(found)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def show(found: Removable, root: Path) -> None:
    """Print what would be removed, with sizes, and what would not, with reasons."""
    for path in [*found.run_folders, *found.derived_files]:
        print(f"{size_of(path) / 2**20:10,.1f} MiB  {shown(path, root)}")
    for path, reason in found.kept.items():
        print(f"kept: {shown(path, root)}, because {reason}")


def shown(path: Path, root: Path) -> str:
    """A path as short as can be."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def confirmed(question: str) -> bool:
    """Whether somebody says yes."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there
        print()
        return False
