"""``lab.py reproduce RUN``: what differs today, and the command that makes the run again."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from pathlib import Path

from labbook.run.reproduce import checks, compare_results, find_run, repeat_command
from runfolder.run import read_run

NAME = "reproduce"
HELP = "check what differs today from a run's record, and print or run the command to repeat it"
_WORDS = {True: "same", False: "DIFFERS", None: "unknown"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Run folder and ``--run``."""
    parser.add_argument("run", metavar="RUN", help="a run folder, or its name below work_dirs")
    parser.add_argument(
        "--run", dest="start", action="store_true", help="run the command, then compare the results"
    )


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print the checks and the command; 0 if nothing is known to differ.

    With ``--run`` the status is that of the repetition, and its numbers are shown beside the run's.
    """
    run = find_run(options.run, root, options.debug)
    found = checks(run, root)
    for check in found:
        print(f"{check.what:9} {_WORDS[check.is_same]:8} {check.detail}")
    command, folder = repeat_command(run, root, options.train_script)
    print("\nTo repeat it, from the project's root folder:")
    print(f"  {shlex.join(['python', *command[1:]])}", flush=True)
    if not options.start:
        return 1 if any(check.is_same is False for check in found) else 0
    status = subprocess.run(command, cwd=root, check=False).returncode
    if status == 0:
        print("", *compare_results(run, read_run(folder)), sep="\n")
    return status
