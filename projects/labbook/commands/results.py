"""``lab.py table``, ``analyse``, ``report`` and ``combine``: what the runs of a study measured."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from labbook.config.studies import Study, find_experiments, get_study
from labbook.results import combine, combined_config, tables, training
from labbook.results.collect import Results, collect
from labbook.results.runs import has_runs, on_other_data
from labbook.results.text import title_of

NOTHING = 1  # exit status when no level is supported, so that `combine && run` stops


def show_table(options: argparse.Namespace, root: Path) -> int:
    """Print the table and the paths of the files that hold it."""
    print_table(get_study(options.study, root, options.debug), root, options.only)
    return 0


def show_analysis(options: argparse.Namespace, root: Path) -> int:
    """Print the tables on how the runs learned and the paths of the files that hold them."""
    for study in _places(get_study(options.study, root, options.debug), root, options.only):
        analysis = training.analyse(study, root, options.only)
        training.print_analysis(analysis)
        _print_paths(training.write_analysis(analysis, root), root)
    return 0


def write_report(options: argparse.Namespace, root: Path) -> int:
    """Write the page and the error analysis, and print their paths."""
    from labbook.report import page  # needs matplotlib, which takes its time to load

    for study in _places(get_study(options.study, root, options.debug), root, options.only):
        _print_paths(page.write_report(_results(study, root, options.only), root), root)
    return 0


def combine_levels(options: argparse.Namespace, root: Path) -> int:
    """Say what is chosen and why, and write it as a config; 1 if there is nothing to write."""
    found = combine.combine(get_study(options.study, root, options.debug), root)
    metric = title_of(found.study, found.metric)
    print(f"By {metric} on {combine.SPLIT}, against {found.baseline} (95 % bootstrap interval):")
    for remark in found.remarks:
        print(f"- {remark}")
    if any(len(one.runs) < 2 for one in found.chosen):
        print("A single seed each: the intervals do not know how much another seed would change.")
    if not found.chosen:
        print("No level is supported by its interval, so nothing is written.")
        return NOTHING
    if len(found.chosen) == 1:
        print(f"Only one is taken, so the combination repeats {found.chosen[0].name}.")
    print(f"Written: {combined_config.write_combined(found, root).relative_to(root)}")
    return 0


def print_table(study: Study, root: Path, only: Iterable[str] = ()) -> None:
    """Print the table of a study and write its files; once more for each other data set.

    Raises:
        ValueError: the runs were not made alike, or a name of ``only`` is unknown.
    """
    for place in _places(study, root, only):
        results = _results(place, root, only)
        tables.print_table(results)
        _print_paths(tables.write_tables(results, root), root)


def _places(study: Study, root: Path, only: Iterable[str]) -> list[Study]:
    """The study where it has runs: on its own data set and on each other. ``only`` names its own,
    or any folders."""
    others = [] if only else on_other_data(study, root)
    return others if others and not has_runs(study, root) else [study, *others]


def _results(study: Study, root: Path, only: Iterable[str]) -> Results:
    """Of all experiments, or of those in ``only``: names of experiments or of run folders."""
    return collect(study, root, map(study.run_name, find_experiments(study, root)), only)


def _print_paths(paths: Iterable[Path], root: Path) -> None:
    for path in paths:
        print(path.relative_to(root))
