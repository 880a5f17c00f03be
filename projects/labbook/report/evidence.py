"""What the sections of a report have in common: the results, short names, whom to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from labbook.config.studies import Study
from labbook.report.errors import Analysis, error_analyses
from labbook.results.cells import title_of
from labbook.results.comparison import Row
from labbook.results.differences import Differences, Entry
from labbook.results.tables import Results


@dataclass(frozen=True)
class Evidence:
    """The results of a study as its report shows them."""

    results: Results
    root: Path
    """The project's root folder."""
    split: str
    """The split that differences are judged on."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Short names by title of a row."""
    errors: Mapping[str, Analysis] = field(default_factory=dict)
    """What goes wrong, by name of the run folder."""

    @property
    def study(self) -> Study:
        return self.results.study

    @property
    def folder(self) -> Path:
        """Of the page; links are relative to it."""
        return self.root / self.study.work_folder

    @property
    def errors_file(self) -> Path:
        """Where ``errors`` are kept."""
        return self.folder / f"{self.study.family}_errors.json"

    @property
    def entries(self) -> Sequence[Entry]:
        """Experiments in the order of the plan."""
        return self.results.entries

    @property
    def rows(self) -> list[Row]:
        """The same without what they are compared with."""
        return [entry.row for entry in self.entries]

    @property
    def metric(self) -> str:
        """The study's own score where it has one, else the one that chooses checkpoints."""
        own = dict(self.study.extra_metrics)
        return next(iter(own.values()), self.results.metric)

    @property
    def metrics(self) -> dict[str, str]:
        """Title and key of the scores that charts show: the main one, overall AP, small ones."""
        keys = [self.metric, self.results.metric, "bbox/AP", "bbox/APs"]
        return {self.title(key): key for key in dict.fromkeys(keys)}

    def title(self, key: str) -> str:
        """What the tables call a score, so that it can stand alone."""
        title = title_of(self.study, key)
        return title if "AP" in title else f"AP of {title}"

    def label(self, row: Row) -> str:
        """Its short name."""
        return self.labels.get(row.title, row.title)


def evidence_of(results: Results, root: Path) -> Evidence:
    """Choose names and the split, and analyse the errors of all runs, which writes a file.

    The split is ``test``, which chose no checkpoint, where any run has it, else ``valid``.
    """
    runs = [run for entry in results.entries for run in entry.row.finished]
    split = "test" if any(run.results.get("test") for run in runs) else "valid"
    evidence = Evidence(results, root, split, short_names(results))
    return replace(evidence, errors=error_analyses(runs, split, evidence.errors_file))


def reference(entry: Entry) -> Row | None:
    """The experiment that this one changes; without it, the baseline; None of a baseline."""
    return entry.parent or entry.baseline


def differences(entry: Entry) -> Differences:
    """Its scores minus those of :func:`reference`."""
    return entry.to_parent if entry.parent else entry.to_baseline


def short_names(results: Results) -> dict[str, str]:
    """What distinguishes each experiment from the baseline, by title of its row.

    Of ``ofat_lr0.01_bs8_adamw_ep100`` against ``ofat_baseline_lr0.001_bs8_adamw_ep100`` that is
    ``lr0.01``. Where nothing is left, or two would be called the same, the full name stays.
    """
    rows = [entry.row for entry in results.entries if entry.row.runs]
    roots = {row.title for row in rows if not row.experiment.get("parent")}
    baselines = roots if len(roots) == 1 else set()
    usual = {word for name in baselines for word in name.split("_")} | {results.study.family}
    short = {}
    for entry in results.entries:
        title = entry.row.title
        words = [word for word in title.split("_") if word not in usual]
        short[title] = "baseline" if {title} == baselines else " ".join(words) or title
    counts = Counter(short.values())
    return {title: name if counts[name] == 1 else title for title, name in short.items()}
