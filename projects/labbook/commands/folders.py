"""``lab.py list``, ``watch``, ``reproduce`` and ``clean``: what run folders hold."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labbook.config.studies import find_experiments, get_study
from labbook.results.runs import on_other_data
from labbook.run.clean import find_removable, remove, size_of
from labbook.run.display import REFRESH_SECONDS, Board, status_of
from labbook.run.jobs import seed_folders
from labbook.run.ledger import older_code
from labbook.run.reproduce import checks, compare_results, find_run, repeat_command
from runfolder.locks import owner_of
from runfolder.provenance import code_version
from runfolder.records import read_record
from runfolder.run import read_run

_WORDS = {True: "same", False: "DIFFERS", None: "unknown"}


def list_runs(options: argparse.Namespace, root: Path) -> int:
    """Print a line for each run: experiment, status, folder, and what is to be known of it."""
    code = code_version()
    for name, folder in _run_folders(options, root):
        status = status_of(folder)
        line = f"{name:40} {status:12} {folder.relative_to(root)}"
        print(f"{line}  {_remark(folder, status, code)}".rstrip())
    return 0


def watch_runs(options: argparse.Namespace, root: Path) -> int:
    """Draw the board until no run is running or Ctrl-C; runs go on. Once if nobody looks."""
    runs = [(folder.name, folder, _steps(folder)) for _, folder in _run_folders(options, root)]
    with contextlib.suppress(KeyboardInterrupt), Board(runs) as board:
        while sys.stdout.isatty() and any(
            status_of(folder) == "running" for _, folder, _ in board.runs
        ):
            time.sleep(REFRESH_SECONDS)
            board.draw()
    return 0


def reproduce_run(options: argparse.Namespace, root: Path) -> int:
    """Print the checks and the command; 0 if nothing is known to differ.

    With ``--run`` the status is that of the repetition, and its numbers are shown beside the run's.
    """
    run = find_run(options.run, root, options.debug)
    found = checks(run, root)
    for check in found:
        print(f"{check.what:9} {_WORDS[check.is_same]:8} {check.detail}")
    command, folder = repeat_command(run, root, options.train_script, options.trust)
    print("\nTo repeat it, from the project's root folder:")
    print(f"  {shlex.join(['python', *command[1:]])}", flush=True)
    if not options.start:
        return 1 if any(check.is_same is False for check in found) else 0
    status = subprocess.run(command, cwd=root, check=False).returncode
    if status == 0:
        print("", *compare_results(run, read_run(folder)), sep="\n")
    return status


def clean_runs(options: argparse.Namespace, root: Path) -> int:
    """List with sizes and reasons, ask, remove; 1 if something could not be removed."""
    study = get_study(options.study, root, options.debug)
    names = find_experiments(study, root, options.only) if options.only else ()
    found = find_removable(study, root, map(study.run_name, names))
    removable = [*found.run_folders, *found.derived_files]
    for path in removable:
        print(f"{size_of(path) / 2**20:10,.1f} MiB  {_shown(path, root)}")
    for path, reason in found.kept.items():
        print(f"kept: {_shown(path, root)}, because {reason}")
    if not removable:
        print("There is nothing to remove.")
        return 0
    if not (options.yes or _confirmed(f"Remove these {len(removable)} for good? [y/N] ")):
        print("Nothing was removed.")
        return 0
    problems = remove(found)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _run_folders(options: argparse.Namespace, root: Path) -> Iterator[tuple[str, Path]]:
    """Config name and run folder of every seed of the experiments on the command line."""
    study = get_study(options.study, root, options.debug)
    for place in (study, *on_other_data(study, root)):
        for name in find_experiments(study, root, options.only):
            for folder in seed_folders(root / place.work_folder / study.run_name(name)):
                if place is study or folder.is_dir():
                    yield name, folder


def _remark(folder: Path, status: str, code: Mapping[str, Any]) -> str:
    """Whose a running run is, and whether a finished one is of older code."""
    if status == "running":
        return f"({owner_of(folder) or 'its lock names nobody'})"
    older = older_code(read_record(folder), code) if status == "finished" else None
    return f"(older code: {older})" if older else ""


def _steps(folder: Path) -> int | None:
    """Number of optimisation steps of a run; it is known once the run has started."""
    with contextlib.suppress(Exception):  # a damaged folder is shown as such
        return (read_run(folder).config.get("train") or {}).get("max_iter")
    return None


def _shown(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there
        print()
        return False
