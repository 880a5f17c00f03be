"""The results of a study, made from its run folders alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pandas import DataFrame

from labbook.config.signatures import nearest
from labbook.config.studies import Study
from labbook.results.differences import differences_frame
from labbook.results.frames import SPLITS, declared_metric, experiments_frame, runs_frame
from labbook.results.intervals import IntervalCache
from labbook.results.rules import check_comparable
from labbook.results.runs import read_runs, run_folder
from labbook.results.text import scores_of


@dataclass(frozen=True)
class Results:
    """What a study has measured so far; the frames are described in :mod:`.frames`."""

    study: Study
    metric: str
    """Key of the score that chooses checkpoints."""
    runs: DataFrame
    experiments: DataFrame
    differences: DataFrame

    @property
    def metrics(self) -> dict[str, str]:
        """Column title and key of the scores that tables show."""
        return scores_of(self.study, self.runs)

    @property
    def baselines(self) -> list[str]:
        """Titles of the experiments that others are compared with."""
        return list(self.experiments["baseline"].dropna().unique())


def collect(
    study: Study, root: Path, names: Iterable[str] = (), only: Iterable[str] = ()
) -> Results:
    """Read the runs of a study and compare them.

    Args:
        study: the study.
        root: the project's root folder.
        names: run names that get a row even if no run folder of theirs is found.
        only: experiments, or run folders of any study or none, to leave it at; empty takes all.

    Raises:
        ValueError: the runs were not made alike, or a name of ``only`` is unknown.
    """
    runs = study_runs(study, root, names, only)
    return compare(study, root, runs, scores_of(study, runs).values())


def study_runs(
    study: Study, root: Path, names: Iterable[str] = (), only: Iterable[str] = ()
) -> DataFrame:
    """The frame of runs of a study; the arguments and errors are those of :func:`collect`."""
    names, only = list(names), set(only)
    own = {folder.name for folder in (root / study.work_folder).glob("*/")}
    paths = {text: run_folder(text, root, [study.work_folder]) for text in only - own}
    folders = {text: folder for text, folder in paths.items() if folder is not None}
    found, damaged = read_runs(study, root, {*names, *only}, folders.values())
    labels = {run.folder.resolve(): run.label for run in found}
    wanted = only - folders.keys()
    wanted |= {labels.get(folder.resolve(), folder.name) for folder in folders.values()}
    return _select(study, runs_frame(study, found, names, damaged), wanted)


def compare(
    study: Study,
    root: Path,
    runs: DataFrame,
    keys: Iterable[str] = (),
    splits: Sequence[str] = SPLITS,
) -> Results:
    """Compare these runs of a study in the score that chooses checkpoints and in those of ``keys``.

    Raises:
        ValueError: they were not made alike.
    """
    experiments = experiments_frame(runs)
    check_comparable(experiments)
    metric = declared_metric(runs["run"].dropna())
    intervals = IntervalCache(root / study.work_folder / f"{study.family}_intervals.json")
    found = differences_frame(runs, experiments, [*keys, metric], intervals, splits)
    return Results(study, metric, runs, experiments, found)


def _select(study: Study, runs: DataFrame, wanted: set[str]) -> DataFrame:
    """The runs with these config names, run names or run folders; all if there are none.

    Raises:
        ValueError: a name is unknown; the nearest one is said.
    """
    if not wanted:
        return runs
    known = {*runs["folder"].dropna(), *runs["experiment"]}
    for name in sorted(wanted):
        if name not in known and study.run_name(name) not in known:
            raise ValueError(
                f"There is no experiment or run folder '{name}' here or in {study.work_folder}."
                f"{nearest(name, known)} "
                f"There are: {', '.join(sorted(known))}."
            )
    chosen = wanted | {study.run_name(name) for name in wanted}
    usual = runs["title"] == runs["experiment"]  # an extra run is chosen by its folder alone
    is_chosen = runs["folder"].isin(chosen) | (usual & runs["experiment"].isin(chosen))
    return runs[runs["title"].isin(runs["title"][is_chosen])]
