"""``lab.py diff``, ``explain``, ``new-study`` and ``preflight``: configs before any run."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from labbook.called import lab
from labbook.config.differences import show_differences
from labbook.config.explain import explain
from labbook.config.lineage import find_experiment
from labbook.config.studies import find_experiments, get_study
from labbook.results.text import duration


def show_difference(options: argparse.Namespace, root: Path) -> int:
    """Print what the experiment changes; 1 if it does not declare all of it."""
    family, name = find_experiment(options.name, root, options.debug, options.overrides)
    text, is_declared = show_differences(family, name)
    print(text)
    return 0 if is_declared else 1


def show_origin(options: argparse.Namespace, root: Path) -> int:
    """Print where the value comes from."""
    family, name = find_experiment(options.name, root, options.debug, options.overrides)
    print(explain(family, name, options.key))
    return 0


def write_study(options: argparse.Namespace, root: Path) -> int:
    """Write a study and print its files, what is amiss at toy size, and what comes next."""
    from labbook.authoring.study import new_study, toy_problems  # needs jinja2

    for path in new_study(options.new, options.source, options.factor, root):
        print(path.relative_to(root))
    for problem in toy_problems(options.new, root):
        print(f"Not at toy size: {problem}")
    print(f"Write into each what you expect; then: {lab(f'preflight {options.new}')}")
    return 0


def try_configs(options: argparse.Namespace, root: Path) -> int:
    """Print a line for each config as it is tried; 1 if one failed."""
    from labbook.run.trials.preflight import FOLDER, preflight

    study = get_study(options.study.removesuffix("-debug"), root)  # with --debug or without
    names = list(find_experiments(study, root, options.only))
    width, start, failed = max(map(len, names)), time.monotonic(), 0
    for trial in preflight(study, names, root, options.train_script):
        mark = "ok    " if trial.is_ok else "FAILED"
        print(f"{mark}  {trial.name:{width}}  {trial.seconds:4.0f} s  {trial.text}", flush=True)
        failed += not trial.is_ok
    total = duration(time.monotonic() - start)
    if failed:
        said = f"{FOLDER}/{study.name}/"
        print(f"{failed} of {len(names)} would fail ({total}). What they said: {said}.")
        return 1
    print(f"All {len(names)} configs of the study {study.name} would run ({total}).")
    return 0
