"""What the sections of a report have in common: the results, short names, the split, errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pandas import DataFrame

from labbook.report.errors import Analysis, error_analyses
from labbook.results.collect import Results
from labbook.results.text import STATUS_TEXT, slice_of, title_of

BETTER, WORSE, OPEN, UNKNOWN = "better", "worse", "open", "unknown"
"""What an interval of a difference supports."""


@dataclass(frozen=True)
class ReportData:
    """The results of a study as its report shows them."""

    results: Results
    root: Path
    """The project's root folder."""
    split: str
    """The split that differences are judged on."""
    labels: Mapping[str, str]
    """Short names by title of an experiment."""
    errors: Mapping[str, Analysis]
    """What goes wrong, by name of the run folder."""

    @property
    def folder(self) -> Path:
        """Of the page; links are relative to it."""
        return self.root / self.results.study.work_folder

    @property
    def experiments(self) -> DataFrame:
        """See :mod:`labbook.results.frames`."""
        return self.results.experiments

    @property
    def metric(self) -> str:
        """The study's own score where it has one, else the one that chooses checkpoints."""
        return next((key for _, key in self.results.study.extra_metrics), self.results.metric)

    @property
    def metrics(self) -> dict[str, str]:
        """Title by key of the scores that charts show: the main one, overall AP, small ones, and
        the main one of slices."""
        keys = [self.metric, self.results.metric, "bbox/AP", "bbox/APs"]
        keys += [key for key in self.results.metrics.values() if slice_of(key)[1] == self.metric]
        return {key: self.score_title(key) for key in keys}

    def score_title(self, key: str) -> str:
        """What the tables call a score, so that it can stand alone."""
        title = title_of(self.results.study, key)
        return title if "AP" in title else f"AP of {title}"

    def differences(self, key: str) -> DataFrame:
        """Differences in a score on the split of the report, to baselines and to parents.

        Beside the columns of :mod:`labbook.results.frames`: ``is_reference`` says which are to the
        experiment that is changed, ``verdict`` what the interval supports.
        """
        known = self.results.differences
        found = known[(known["split"] == self.split) & (known["key"] == key)]
        changed = found["title"].map(self.experiments["reference"])
        low, is_open = found["low"], ~found["is_marked"].astype(bool)
        verdict = np.select([low.isna(), is_open, low > 0], [UNKNOWN, OPEN, BETTER], WORSE)
        return found.assign(is_reference=found["against"] == changed, verdict=verdict)

    def unfinished(self, title: str) -> str:
        """What has become of the runs of an experiment that have not finished, as ``FAILED``."""
        runs = self.results.runs
        found = runs.loc[(runs["title"] == title) & ~runs["finished"], "status"]
        return ", ".join(STATUS_TEXT[status] for status in found.unique())


def report_data(results: Results, root: Path) -> ReportData:
    """Choose names and the split, and analyse the errors of all runs, which writes a file.

    The split is ``test``, which chose no checkpoint, where any run has it, else ``valid``.
    """
    runs = [run for run in results.runs["run"] if run is not None and run.is_finished]
    split = "test" if any(run.results.get("test") for run in runs) else "valid"
    errors = error_analyses(runs, split, errors_file(results, root))
    return ReportData(results, root, split, short_names(results), errors)


def errors_file(results: Results, root: Path) -> Path:
    """Where the error analysis of a study is kept."""
    return root / results.study.work_folder / f"{results.study.family}_errors.json"


def short_names(results: Results) -> dict[str, str]:
    """What distinguishes each experiment from the baseline, by title.

    Of ``study_lr0.01_bs8`` against ``study_baseline_lr0.001_bs8`` that is ``lr0.01``. Where
    nothing is left, or two would be called the same, the full name stays.
    """
    experiments = results.experiments
    has_runs = experiments["runs"].map(bool)
    roots = list(experiments.index[has_runs & experiments["parent"].isna()])
    baseline = roots[0] if len(roots) == 1 else ""
    usual = {*baseline.split("_"), results.study.family}
    short = {
        title: " ".join(word for word in title.split("_") if word not in usual) or title
        for title in experiments.index
    } | ({baseline: "baseline"} if baseline else {})
    counts = Counter(short.values())
    return {title: name if counts[name] == 1 else title for title, name in short.items()}
