"""``lab.py combine STUDY``: the best levels together, as the next experiment."""

from __future__ import annotations

import argparse
from pathlib import Path

from labbook.commands.arguments import add_study, study_of
from labbook.results.text import title_of

NAME = "combine"
HELP = "take the best level of each factor and write configs/STUDY/combined.py"
NOTHING = 1  # exit status when no level is supported, so that `combine && run` stops


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Study."""
    add_study(parser)


def execute(options: argparse.Namespace, root: Path) -> int:
    """Say what is chosen and why, and write it as a config; 1 if there is nothing to write."""
    from labbook.results.combine import SPLIT, combine
    from labbook.results.combined_config import write_combined

    combination = combine(study_of(options, root), root)
    metric = title_of(combination.study, combination.metric)
    print(f"By {metric} on {SPLIT}, against {combination.baseline} (95 % bootstrap interval):")
    for remark in combination.remarks:
        print(f"- {remark}")
    if any(len(one.runs) < 2 for one in combination.chosen):
        print("A single seed each: the intervals do not know how much another seed would change.")
    if not combination.chosen:
        print("No level is supported by its interval, so nothing is written.")
        return NOTHING
    if len(combination.chosen) == 1:
        print(f"Only one is taken, so the combination repeats {combination.chosen[0].name}.")
    print(f"Written: {write_combined(combination, root).relative_to(root)}")
    return 0
