"""``lab.py watch STUDY``: how far its runs are, whoever has started them."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from labbook.commands.arguments import add_only, add_study, chosen_experiments, study_of
from labbook.run.display import REFRESH_SECONDS, Board, status_of
from labbook.run.jobs import seed_folders
from runfolder.run import read_run

NAME = "watch"
HELP = "watch the runs, also those in the background and on other machines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study and ``--only``."""
    add_study(parser)
    add_only(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Draw the board until no run is running or Ctrl-C; runs go on. Once if nobody looks."""
    with contextlib.suppress(KeyboardInterrupt), Board(watched(options, root)) as board:
        while sys.stdout.isatty() and any(
            status_of(folder) == "running" for _, folder, _ in board.runs
        ):
            time.sleep(REFRESH_SECONDS)
            board.draw()
    return 0


def watched(options: argparse.Namespace, root: Path) -> Iterator[tuple[str, Path, int | None]]:
    """Name, folder and number of steps of each run; steps are known once it has started."""
    study = study_of(options, root)
    for name in chosen_experiments(options, root):
        for folder in seed_folders(root / study.work_folder / study.run_name(name)):
            steps = None
            with contextlib.suppress(Exception):  # a damaged folder is shown as such
                steps = (read_run(folder).config.get("train") or {}).get("max_iter")
            yield folder.name, folder, steps
