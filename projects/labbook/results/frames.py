"""The run folders of a study as pandas frames; tables, plots and comparisons start from these.

AP in percent, differences of AP in points, times in seconds, memory in MB. NaN is a number that is
not there or not defined; means leave it out. Runs that have not finished have no numbers.

:func:`runs_frame`, a row for each run folder, each folder that cannot be read, and each experiment
without a folder, in the order of the study plan:

- ``title``: the key of the experiment below; runs whose configs differ by the seed alone share it.
  It is the experiment's name, with the folder in brackets where further runs go by that name.
- ``experiment``, ``parent`` (names), ``factors`` (tuple of keys), ``level``, ``hypothesis``,
  ``change`` (``optimizer.lr = 0.01``; a bundle is called one): what the config declares.
- ``folder`` (its name, or its path where another has that name), ``run``
  (:class:`runfolder.run.Run`): None without a readable folder.
- ``seed``, ``status`` (``new``, ``running``, ``interrupted``, ``failed``, ``finished``, or
  ``unreadable``), ``finished`` (whether it has results), ``reason`` (why not, or "").
- ``counts_steps``: whether the length of the run is set in steps, not in epochs.
- ``valid bbox/AP50``, ``test bbox/AP``, ...: scores; ``ema valid bbox/AP``: of averaged weights;
  ``test tiled/AP``: with tiles, ``test bbox-night/AP``: of a slice, where any run was scored so.
- ``training_seconds``, ``best_epoch``, ``best_iteration`` (from 0; -1: never evaluated),
  ``iterations``, ``final_loss``, ``seconds_per_iteration``, ``peak_memory_mb``, and any other
  number of ``results.json``; ``trainable_parameters`` and ``frozen_parameters``: how many.

:func:`experiments_frame`, a row for each ``title``, which is its index, in the same order:

- the declared columns, ``counts_steps`` and the first seed's parameters, as above;
- every number's mean over seeds under its own name, and with `` spread`` behind it the sample
  standard deviation over seeds (NaN with fewer than two);
- ``runs`` (list of ``Run``), ``finished`` (how many have results), ``status`` (all that occur, in
  words), ``reasons`` (list);
- ``targets``: each with whether the mean meets it, as ``bbox/AP > 35: missed``; judged on valid;
- ``ancestors``: titles of parent, its parent, ... as far as they have rows; ``baseline``: title of
  the experiment without parent that it descends from, None of that one itself; ``reference``: title
  of the experiment that it changes: its parent where that has a row, else its baseline, or None.

:func:`curves_frame`, long: ``title``, ``experiment``, ``folder``, ``seed``, ``iteration`` (from
0), ``key`` (as ``total_loss``), ``value`` (NaN: logged, but not finite), by rising iteration.

:func:`labbook.results.differences.differences_frame`, long, a row for each score of ``title`` minus
that of ``against`` (a title; ``role`` says whether that is its ``baseline`` or its ``parent``):
``split``, ``key``, ``estimate`` (difference of the means), ``spread`` (sample standard deviation of
the differences between runs of the same seed), ``low``, ``high`` (95 % bootstrap interval over
images, or over recordings of events), ``is_marked`` (the interval leaves out 0), ``reason`` (why
there is no interval). A parent that is the baseline has no rows of its own.

:func:`labbook.results.collect.collect` makes the first, second and fourth of a study, as ``runs``,
``experiments`` and ``differences`` of its ``Results``. Tables of text, as the terminal shows them
(``.cells`` is a frame): :func:`labbook.results.tables.results_table`, ``differences_table``, and
:func:`labbook.results.training.analysis_tables`; their explanations: ``tables.explanation`` and
``training.legend``. Words, numbers and titles of scores for people are in
:mod:`labbook.results.text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from labbook.config.experiment import describe_change, verdict
from labbook.config.resume import is_measured
from labbook.config.signatures import MISSING
from labbook.config.studies import Study
from labbook.config.trees import flatten
from labbook.results.text import METRICS, scores_of
from runfolder.metrics import read_metrics
from runfolder.run import Run

SPLITS = ("valid", "test")
MEASURES = (
    "training_seconds",
    "best_epoch",
    "best_iteration",
    "iterations",
    "seconds_per_iteration",
    "peak_memory_mb",
    "final_loss",
)
PARAMETERS = ("trainable_parameters", "frozen_parameters")
_DECLARED: dict[str, Any] = dict.fromkeys(("experiment", "parent", "level"))
_DECLARED |= {"factors": (), "hypothesis": "", "change": "", "counts_steps": False}
_FACTS: dict[str, Any] = dict.fromkeys(("title", *_DECLARED, "folder", "run", "seed", "status"))
_FACTS |= {**_DECLARED, "finished": False, "reason": ""}
"""Columns of the frame of runs that are no numbers, and what they hold where nothing is known."""


def declared_metric(runs: Iterable[Run]) -> str:
    """Key of the score by which checkpoints are chosen (``train.best_metric``)."""
    declared = ((run.config.get("train") or {}).get("best_metric") for run in runs)
    return next(filter(None, declared), METRICS["mAP@0.5:0.95"])


def runs_frame(
    study: Study,
    runs: Iterable[Run],
    names: Iterable[str] = (),
    damaged: Mapping[Path, str] | None = None,
) -> DataFrame:
    """A row for each run folder and each experiment without one; see the top of this module.

    Args:
        study: the study.
        runs: its runs.
        names: of experiments that get a row even without a run.
        damaged: folders that cannot be read, with the reason.
    """
    records = _titled(sorted(runs, key=_usual_folder_first))
    for folder, reason in (damaged or {}).items():
        facts = {"folder": folder.name, "status": "unreadable", "reason": reason or "damaged"}
        records.append({"title": folder.name, "experiment": folder.name, **facts})
    known = {record["experiment"] for record in records}
    records += [
        {"title": name, "experiment": name, "status": "new"} for name in names if name not in known
    ]
    records = [_FACTS | record for record in records]
    records.sort(key=lambda record: study.place(record["experiment"]))
    found = dict.fromkeys(key for record in records for key in record if key not in _FACTS)
    shown = scores_of(study, found).values()
    scores = [f"{split} {key}" for key in shown for split in SPLITS]
    numbers = list(dict.fromkeys([*scores, *MEASURES, *PARAMETERS, *found]))
    facts = DataFrame(records, columns=list(_FACTS), dtype=object)
    facts = facts.astype({"finished": bool, "counts_steps": bool})
    return pd.concat([facts, DataFrame(records, columns=numbers, dtype=float)], axis=1)


def experiments_frame(runs: DataFrame) -> DataFrame:
    """A row for each experiment of :func:`runs_frame`; see the top of this module."""
    groups = runs.groupby("title", sort=False)
    numbers = [name for name in runs if name not in _FACTS]
    means, spreads = groups[numbers].mean(), groups[numbers].std().add_suffix(" spread")
    declared = runs.drop_duplicates("title").set_index("title")[list(_DECLARED)]
    found = {
        "runs": groups["run"].agg(lambda runs: [run for run in runs if run]),
        "finished": groups["finished"].sum(),
        "status": groups["status"].agg(lambda status: " ".join(dict.fromkeys(status))),
        "reasons": groups["reason"].agg(lambda reasons: [why for why in reasons if why]),
    }
    frame = pd.concat([declared, means, spreads, DataFrame(found, declared.index)], axis=1)
    targets = Series([_targets(row) for _, row in frame.iterrows()], frame.index, name="targets")
    return pd.concat([frame, targets, _family(frame)], axis=1)


def curves_frame(runs: DataFrame, keys: Sequence[str]) -> DataFrame:
    """The numbers ``keys`` of all ``metrics.json``; of a step that was logged twice the last."""
    facts = ["title", "experiment", "folder", "seed"]
    rows = [
        (*(getattr(row, name) for name in facts), line["iteration"], key, line[key])
        for row in runs.itertuples()
        if row.run is not None
        for line in read_metrics(row.run.folder)
        if isinstance(line.get("iteration"), int)
        for key in keys
        if key in line
    ]
    frame = DataFrame(rows, columns=[*facts, "iteration", "key", "value"])
    values = pd.to_numeric(frame["value"], errors="coerce").astype(float)
    frame["value"] = values.where(np.isfinite(values))
    is_repeated = frame[frame["value"].notna()].duplicated(["folder", "iteration", "key"], "last")
    return frame.drop(is_repeated.index[is_repeated]).sort_values("iteration", kind="stable")


def _titled(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Their rows; runs of one experiment are told apart by more than the seed get a title each."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        title = next((title for title, group in groups.items() if _repeats(run, group)), None)
        if title is None:
            title = run.name if run.label == run.name else f"{run.name} ({run.label})"
        groups.setdefault(title, []).append(run)
    return [_record(title, run) for title, group in groups.items() for run in group]


def _record(title: str, run: Run) -> dict[str, Any]:
    declared, train = run.experiment, run.config.get("train") or {}
    facts = {name: declared.get(name) for name in ("parent", "level")}
    facts |= {"factors": tuple(declared.get("factors") or ()), "change": describe_change(declared)}
    facts |= {"hypothesis": declared.get("hypothesis") or "", "reason": _reason(run)}
    facts |= {"counts_steps": train.get("epochs") == 0, "finished": run.is_finished}
    facts |= {"folder": run.label, "seed": run.seed, "status": run.status, "run": run}
    return {**_numbers(run), "title": title, "experiment": run.name, **facts}


def _numbers(run: Run) -> dict[str, float]:
    """Scores and measures of a run that has come to its end."""
    if not run.is_finished:
        return {}
    averages, counts = (run.results.get(name) or {} for name in ("ema", "parameters"))
    found = dict(run.results)
    found |= {f"{kind}_parameters": count for kind, count in counts.items()}
    for split in SPLITS:
        found |= {f"{split} {k}": v for k, v in (run.results.get(split) or {}).items()}
        # A run may have been evaluated anew for the sake of its slices.
        for part, facts in (run.evaluation(split).get("slices") or {}).items():
            scores = facts.get("results") or {}
            found |= {f"{split} bbox-{part}/{k}": v for k, v in scores.items()}
        found |= {f"ema {split} {k}": v for k, v in (averages.get(split) or {}).items()}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _reason(run: Run) -> str:
    """Why a run has not finished, as far as its folder tells."""
    if run.record is None:
        return "ended before it could start" if (run.folder / "console.txt").exists() else ""
    return "" if run.status == "finished" else run.record.exit_reason or ""


def _repeats(run: Run, others: Sequence[Run]) -> bool:
    """Whether a run differs from others of its experiment by the seed alone."""
    first = others[0]
    if first.name != run.name or run.seed in {other.seed for other in others}:
        return False
    before, after = flatten(first.config), flatten(run.config)
    for key in before.keys() | after.keys():
        pair = before.get(key, MISSING), after.get(key, MISSING)
        is_seed = key.endswith("seed") and pair == (first.seed, run.seed)
        if pair[0] != pair[1] and is_measured(key) and not is_seed:
            return False
    return True


def _usual_folder_first(run: Run) -> tuple[str, bool, int, str]:
    name = run.label
    return run.name, name != run.name, len(name), name


def _targets(row: Any) -> list[str]:
    """Each declared target with whether the mean over seeds meets it."""
    declared = (row["runs"][0].experiment.get("targets") or {}) if row["runs"] else {}
    return [
        verdict(name, _reached(row, name), target)
        if isinstance(target, int | float)
        else f"{name}: UNKNOWN, its target {target!r} is no number"
        for name, target in declared.items()
    ]


def _reached(row: Any, name: str) -> float | None:
    known = (row.get(f"valid {name}"), row.get(name))
    return next((value for value in known if value is not None and not np.isnan(value)), None)


def _family(frame: DataFrame) -> DataFrame:
    """The columns ``ancestors``, ``baseline`` and ``reference``."""
    names, parents = frame["experiment"].to_dict(), frame["parent"].to_dict()
    first = {names[title]: title for title in reversed(list(names))}
    roots = [title for title in names if frame.at[title, "runs"] and not parents[title]]
    usual = [title for title in roots if title == names[title]]
    only = usual[0] if len(usual) == 1 else None
    family = []
    for title in names:
        line = [title]
        while (parent := first.get(parents[line[-1]])) and parent not in line:
            line.append(parent)
        root = first[names[line[-1]]] if line[-1] in roots else only
        baseline = None if root == title else root
        family.append((tuple(line[1:]), baseline, next(iter(line[1:]), baseline)))
    columns = ["ancestors", "baseline", "reference"]
    return DataFrame(family, index=frame.index, columns=columns, dtype=object)
