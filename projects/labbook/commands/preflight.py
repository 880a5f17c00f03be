"""``lab.py preflight STUDY``: would every config run?"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from labbook.commands.arguments import add_only, add_study
from labbook.config.studies import find_experiments, get_study, select
from labbook.results.text import duration
from labbook.run.preflight import FOLDER, preflight

NAME = "preflight"
HELP = "run each config for 2 steps and a small evaluation at toy size; say which would fail"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study and ``--only``."""
    add_study(parser)
    add_only(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print a line for each config as it is tried; 1 if one failed."""
    study = get_study(options.study.removesuffix("-debug"), root)  # with --debug or without
    found = find_experiments(study, root)
    names = list(select(study, found, options.only) if options.only else found)
    width, start, failed = max(map(len, names)), time.monotonic(), []
    for trial in preflight(study, names, root, options.train_script):
        mark = "ok    " if trial.is_ok else "FAILED"
        print(f"{mark}  {trial.name:{width}}  {trial.seconds:4.0f} s  {trial.text}", flush=True)
        failed += [] if trial.is_ok else [trial.name]
    total = duration(time.monotonic() - start)
    if failed:
        print(f"{len(failed)} of {len(names)} would fail ({total}). What they said: {FOLDER}/.")
        return 1
    print(f"All {len(names)} configs of the study {study.name} would run ({total}).")
    return 0
