"""By which rules and on which data runs were scored; what differs there must not be compared."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from pandas import DataFrame

from boxmetrics.matches import Matches
from boxmetrics.tables import load_columns
from labbook.results.frames import SPLITS
from labbook.results.text import TILED
from runfolder.names import AP
from runfolder.run import Run

logger = logging.getLogger(__name__)

_SAME = 1e-6  # points of AP
_SHOWN = 12
"""Characters of a checksum; enough to tell two apart."""
TRUTH = ("image_ids", "gt_image", "gt_class", "gt_crowd")
"""Arrays of ``matches.npz`` that make up the ground truth; without the boxes, which half
resolution may round."""


def check_comparable(experiments: DataFrame) -> None:
    """Refuse to compare numbers that were not made alike.

    All finished runs that share a baseline must agree in :func:`rules_of`. An experiment whose
    factor lies in ``dataset``, and those that build on it, may be trained on other data, but not
    scored on other. What a run folder does not say is not compared.

    Args:
        experiments: of :func:`labbook.results.frames.experiments_frame`.

    Raises:
        ValueError: they disagree; the text says in what, and which run has which.
    """
    baselines = experiments["baseline"].fillna(experiments.index.to_series())
    for _, family in experiments.groupby(baselines):
        rules = {
            run.label: rules_of(run, _moves_data(experiments, title))
            for title, runs in family["runs"].items()
            for run in runs
            if run.is_finished
        }
        _refuse_disagreement(DataFrame(rules))


def rules_of(run: Run, moves_data: bool = False) -> dict[str, str]:
    """What must be equal for scores to be comparable, in words, as far as the run folder tells."""
    train = run.config.get("train") or {}
    rules = {"metric that chose the checkpoint": train.get("best_metric", AP) if train else None}
    if not moves_data:
        rules["data set"] = _short(run.results.get("data_fingerprint"))
    found = {split: run.evaluation(split) for split in SPLITS}
    for split, evaluation in found.items():
        for name, value in _rules_in(evaluation).items():
            rules[f"{name} on {split}"] = value
        truth = evaluation.get("annotation_sha256") or _truth(run, split)
        rules[f"ground truth of {split}"] = _short(truth)
        rules[f"tiles on {split}"] = _tiles(run, split)
    return {name: str(value) for name, value in rules.items() if value is not None}


def evaluated_since(run: Run) -> str:
    """A sentence if ``evaluation/`` holds other scores than ``results.json``, else nothing."""
    for split in SPLITS:
        here = run.score(split, AP)
        there = (run.evaluation(split).get("results") or {}).get("AP")
        if here is not None and there is not None and abs(here - there) > _SAME:
            return (
                f"{split} was EVALUATED ANEW since: AP {there:.2f} in evaluation/, {here:.2f} in "
                "results.json"
            )
    return ""


def _rules_in(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    classes = evaluation.get("classes")
    protocol = [evaluation.get("protocol"), evaluation.get("protocol_version")]
    words = [str(part) for part in protocol if part is not None]
    slices = evaluation.get("slices") or {}
    return {
        "protocol": " version ".join(words) or None,
        "evaluator": evaluation.get("evaluator"),
        "classes": ", ".join(classes) if classes else None,
        "number of images": (evaluation.get("results") or {}).get("num_images"),
        "slices": ", ".join(f"{n} {len(s.get('recordings', ()))}" for n, s in slices.items())
        or None,
    }


def _tiles(run: Run, split: str) -> str | None:
    """How the images were cut for the scores with tiles; None where there are none."""
    if run.score(split, TILED["tiled mAP@0.5:0.95"]) is None:
        return None
    node = (run.config.get("evaluation") or {}).get(split) or {}
    overlap, merge = node.get("overlap", 0.2), node.get("tile_merge", "nms")
    return f"{node.get('tile')} px, overlap {overlap}, {merge}"


def _truth(run: Run, split: str) -> str | None:
    """A checksum of the ground truth that a run was scored on, if it can be read."""
    path = run.matches_file(split)
    if path is None:
        return None
    try:
        arrays = load_columns(path, Matches, TRUTH)
    except ValueError as error:
        logger.warning("The ground truth of %s is not compared: %s", run.label, error)
        return None
    parts = [np.ascontiguousarray(arrays[name]).tobytes() for name in TRUTH]
    return hashlib.sha256(b"|".join(parts)).hexdigest()


def _moves_data(experiments: DataFrame, title: Any) -> bool:
    line = [title, *experiments.at[title, "ancestors"]]
    factors = (key for keys in experiments.loc[line, "factors"] for key in keys)
    return any(key.split(".")[0] == "dataset" for key in factors)


def _refuse_disagreement(rules: DataFrame) -> None:
    """Raise ValueError unless all runs (columns) have the same value for every rule (rows)."""
    sentences = []
    for name, values in rules.iterrows():
        runs_by_value = values.groupby(values, sort=False).groups
        if len(runs_by_value) > 1:
            parts = [f"{value} ({', '.join(runs)})" for value, runs in runs_by_value.items()]
            sentences.append(f"{name}: {'; '.join(parts)}")
    if sentences:
        raise ValueError(
            "These runs were not made alike, so their numbers cannot be compared.\n  "
            + "\n  ".join(sentences)
            + "\nShow those that belong together with --only NAME ... (experiments or run folders),"
            " or run the others again."
        )


def _short(checksum: Any) -> str | None:
    return str(checksum)[:_SHOWN] if checksum else None
