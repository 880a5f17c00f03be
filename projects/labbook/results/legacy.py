"""What the report on the old objects needs; goes when the report is off them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labbook.results.comparison import group_runs
from labbook.results.differences import compare
from labbook.results.intervals import IntervalCache
from labbook.results.text import metrics_of


def entries_of(results: Any, root: Path) -> list[Any]:
    runs, study = results.runs, results.study
    new, bad = (runs[runs["status"] == status] for status in ("new", "unreadable"))
    damaged = {Path(row.folder): row.reason for row in bad.itertuples()}
    names = new["experiment"][new["run"].isna()]
    rows = group_runs(study, runs["run"].dropna(), names, damaged)
    keys = dict.fromkeys([*metrics_of(study).values(), results.metric])
    path = root / study.work_folder / f"{study.family}_intervals.json"
    return compare(rows, keys, IntervalCache(path))
