"""The config file of a combination of levels: the baseline, and the keys that it moves."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from labbook.authoring.python import WIDTH, assignment, code
from labbook.called import lab
from labbook.config.signatures import MISSING
from labbook.config.studies import find_experiments, toy_file
from labbook.config.trees import select
from labbook.results.combine import SPLIT, Combination
from runfolder.files import write_text
from runfolder.names import CONFIG, CONFIG_SOURCE
from runfolder.run import Run
from runfolder.trust import check_targets
from runfolder.yaml_files import read_yaml


def write_combined(combination: Combination, root: Path) -> Path:
    """Write the config file and return its path.

    It is ``combined.py`` beside the study's configs; at toy size it is ``<study>_combined.py`` in
    the work folder, which holds nothing that anybody keeps.

    Raises:
        ValueError: the baseline has no config file, or a run's config lacks a key that it moves.
    """
    study = combination.study
    path = Path(study.config_folder, "combined.py")
    command = lab(f"run {study.family} --only combined")
    if study.is_debug:
        path = Path(study.work_folder, f"{combination.name}.py")
        command = f"tools/lazyconfig_train_net.py --config-file {path.as_posix()}"
    baseline = _load_baseline(combination, root, root / path.parent)
    write_text(root / path, config_text(combination, baseline, command))
    return root / path


def config_text(combination: Combination, baseline: str, command: str) -> str:
    """The config file's text.

    Args:
        combination: what was chosen, at least one level.
        baseline: the expression that loads the baseline's config.
        command: how to run it.
    """
    chosen, metric = combination.chosen, combination.metric
    gains = ", ".join(f"{one.level} ({one.gain.estimate:+.1f})" for one in chosen)
    gains = textwrap.fill(f"Gains in {metric} on {SPLIT}: {gains}.", WIDTH)
    total = sum(one.gain.estimate for one in chosen)
    loader = PackageLoader("labbook.results", "templates")
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["code"] = code
    return environment.get_template("combined.py.j2").render(
        combination=combination,
        gains=gains.replace('"""', "'''"),
        command=command,
        baseline=baseline,
        moves="\n".join(
            assignment(key, _value(one.runs[0], key)) for one in chosen for key in one.factors
        ),
        level=", ".join(one.level for one in chosen),
        hypothesis=f"The gains add up to {total:+.1f} points of {metric} on {SPLIT}.",
    )


def _value(run: Run, key: str) -> Any:
    """What the run's config has at ``key``, with its interpolations where they were kept."""
    for name in (CONFIG_SOURCE, CONFIG):
        path = run.folder / name
        if path.is_file() and (value := select(read_yaml(path), key)) != MISSING:
            check_targets(value, key)  # what is written is a program
            return value
    raise ValueError(
        f"The config in {run.folder} has no key {key}, which its experiment declares to move. "
        "Remove or rename that folder, and run the experiment again."
    )


def _load_baseline(combination: Combination, root: Path, folder: Path) -> str:
    """The expression by which a config in ``folder`` loads that of the baseline."""
    study = combination.study
    for name, path in find_experiments(study, root).items():
        if study.run_name(name) == combination.baseline:
            file, toy = root / path, ""
            if not file.is_file():  # a toy version, which a function makes
                file, toy = toy_file(file.parent), f', keys="toy")({code(name)}'
            relative = Path(os.path.relpath(file, folder)).as_posix()
            return f"LazyConfig.load_rel({code(relative)}{toy})"
    raise ValueError(
        f"{combination.baseline} has runs, but no config in {study.config_folder}; the "
        "combination is written as a change of it. Restore the config file."
    )
