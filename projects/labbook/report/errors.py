"""What goes wrong in each run: error types, confusion, recall by size, false alarms."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boxmetrics.confusion import confusion_matrix, false_alarms_on_empty, recall_by_size
from boxmetrics.error_types import ErrorCost, error_costs
from boxmetrics.matches import Matches
from boxmetrics.matching import AREA_RANGES
from labbook.results.intervals import checksum, read_stored
from runfolder.files import write_json
from runfolder.run import Run

logger = logging.getLogger(__name__)

MIN_SCORE = 0.3
"""Confidence from which on a prediction counts as an answer, where AP does not rank them."""
IOU = 0.5
EDGES = (8, 16, 32, 64, 96)
"""Between the bins of recall: square root of the annotated area, in pixels."""
_FORMAT = 1  # of the file; raised when the same matches would give other numbers

Analysis = Mapping[str, Any]  # of one run: what analyse_run returns


def error_analyses(runs: Sequence[Run], split: str, path: Path) -> dict[str, Analysis]:
    """The analysis of each finished run that has matches on ``split``, by name of its folder.

    They are written to ``path``; an analysis of the same matches that is there already is taken
    over.
    """
    stored, found = read_stored(path), {}
    known = stored.get("runs", {}) if stored.get("format") == _FORMAT else {}
    for run in runs:
        matches_file, name = run.matches_file(split), run.label
        if not run.is_finished or matches_file is None:
            continue
        digest, before = checksum(matches_file), known.get(name, {})
        if (before.get("matches_sha256"), before.get("split")) == (digest, split):
            found[name] = before
            continue
        try:
            analysis = analyse_run(run, split, load_matches(matches_file))
        except ValueError as error:  # one damaged file must not hide the others
            logger.warning("%s is left out of the error analysis: %s", name, error)
        else:
            found[name] = {"matches_sha256": digest, **analysis}
    rules = {"iou": IOU, "min_score": MIN_SCORE, "ap": "at this IoU, in percent; costs in points"}
    write_json(path, {"format": _FORMAT, "rules": rules, "runs": found})
    return found


def load_matches(path: Path) -> Matches:
    """The matches in ``path``.

    Raises:
        ValueError: it is no file of matches.
    """
    try:
        return Matches.load(path)
    except ValueError as error:
        raise ValueError(f"{path} holds no matches ({error}); evaluate the run again") from error


def analyse_run(run: Run, split: str, matches: Matches) -> dict[str, Any]:
    """All that is told about the errors of one run, as plain numbers."""
    evaluation = run.evaluation(split)
    classes = _class_names(evaluation, matches)
    alarms = false_alarms_on_empty(matches, MIN_SCORE)
    return {
        "experiment": run.name,
        "seed": run.seed,
        "split": split,
        "classes": classes,
        "sizes": {
            name: _costs(matches, limits) for name, limits in area_ranges(evaluation).items()
        },
        "confusion": confusion_matrix(matches, len(classes), MIN_SCORE, IOU).tolist(),
        "recall_by_size": [
            bin._asdict()
            | {"recall": bin.recall}
            | ({} if math.isfinite(bin.high) else {"high": None})
            for bin in recall_by_size(matches, EDGES, IOU, MIN_SCORE)
        ],
        "false_alarms": {
            "empty_images": len(alarms.image_ids),
            "alarms": int(alarms.counts.sum()),
            "images_with_alarms": int((alarms.counts > 0).sum()),
            "per_image": alarms.per_image,
        },
    }


def area_ranges(evaluation: Mapping[str, Any]) -> dict[str, tuple[float, float] | None]:
    """Limits of area by name of the size, square pixels; None, of ``all``, is without limits."""
    protocols = evaluation.get("protocols") or [{}]
    ranges = evaluation.get("area_ranges") or protocols[0].get("area_ranges") or AREA_RANGES
    sizes = {name: (float(low), float(high)) for name, (low, high) in ranges.items()}
    return {"all": None} | {name: limits for name, limits in sizes.items() if name != "all"}


def _costs(matches: Matches, limits: tuple[float, float] | None) -> dict[str, Any]:
    report = error_costs(matches, threshold=IOU, area_range=limits)
    return {
        "ap": report.ap,
        "num_ground_truth": report.num_ground_truth,
        "area_range": limits,
        "errors": {error.name: _cost(error) for error in report.errors},
        "false_positives": _cost(report.false_positives),
        "false_negatives": _cost(report.false_negatives),
    }


def _cost(error: ErrorCost) -> dict[str, Any]:
    return {"count": error.count, "cost": error.cost}


def _class_names(evaluation: Mapping[str, Any], matches: Matches) -> list[str]:
    """As the evaluation calls them; numbers if it does not say."""
    last = max(matches.det_class.max(initial=-1), matches.gt_class.max(initial=-1))
    names = list(evaluation.get("classes") or [])
    return names + [str(k) for k in range(len(names), int(last) + 1)]
