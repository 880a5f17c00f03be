"""Bootstrap intervals of differences between runs, computed once for the same matches."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from boxmetrics.bootstrap import METRICS, bootstrap_difference
from boxmetrics.matches import Matches, match_table
from boxmetrics.tables import BoxTable, load_columns
from labbook.results.text import slice_of
from runfolder.files import read_json, write_json
from runfolder.run import Run

logger = logging.getLogger(__name__)

LEVEL = 0.95
_FORMAT = 1  # of the cache; raised when the same matches would give another interval
_TASK = "bbox/"  # scores of all boxes in matches.npz; protocols that drop some have other prefixes
_SMALL_CLASSES = "AP-small-classes"


class Interval(NamedTuple):
    """The interval of a difference, in points of AP; NaN where there is none, with the reason."""

    low: float = math.nan
    high: float = math.nan
    reason: str = ""


class IntervalCache:
    """Looks intervals up in a file, and computes and adds those that are not there.

    They are found again by the content of the matches, so copied run folders cost nothing and
    runs that were evaluated anew are not mistaken for the old ones.
    """

    def __init__(self, path: Path, bootstrap: Callable[..., Any] = bootstrap_difference) -> None:
        """Read ``path`` if it is there; a damaged file is made anew."""
        self._path = path
        self._bootstrap = bootstrap
        self._checksum = cache(checksum)
        self._known = read_stored(path)

    def difference(
        self, candidate: Sequence[Run], baseline: Sequence[Run], split: str, key: str
    ) -> Interval:
        """Interval of the mean score of ``candidate`` minus that of ``baseline``.

        Args:
            candidate: finished runs of one experiment with different seeds.
            baseline: those of the other.
            split: ``valid`` or ``test``.
            key: of the score, as ``bbox/AP50``.
        """
        sides: list[list[Any]] = [
            [run.matches_file(split) for run in side] for side in (candidate, baseline)
        ]
        if not all(side and all(side) for side in sides):
            return Interval(reason=f"evaluation/{split}/matches.npz is missing")
        arguments = bootstrap_arguments(key, candidate[0].evaluation(split))
        if arguments is None:
            return Interval(reason=f"{key} cannot be resampled")
        name = self._name(sides, arguments)
        if name not in self._known:
            logger.info("Computing the bootstrap interval of %s on %s, kept for later.", key, split)
            low, high, reason = self._compute(sides, arguments)
            interval = None if math.isnan(low) else [low, high]
            self._known[name] = {"interval": interval, "reason": reason}
            write_json(self._path, self._known)
        found = self._known[name]
        low, high = found["interval"] or (math.nan, math.nan)
        return Interval(low, high, found["reason"])

    def _name(self, sides: Sequence[Sequence[Path]], arguments: Mapping[str, Any]) -> str:
        contents = [sorted(map(self._checksum, paths)) for paths in sides]
        text = json.dumps([_FORMAT, LEVEL, arguments, contents], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _compute(self, sides: Sequence[Sequence[Path]], arguments: Mapping[str, Any]) -> Interval:
        chosen = arguments.get("recordings")
        arguments = {name: value for name, value in arguments.items() if name != "recordings"}
        try:
            groups = recordings_of(sides[0][0])
            if groups is not None and chosen is not None:
                groups = groups[np.isin(groups, chosen)]
            matches = [[_load(path, chosen) for path in paths] for paths in sides]
            found = self._bootstrap(*matches, groups=groups, level=LEVEL, **arguments)
        except ValueError as error:  # damaged, or of other images
            return Interval(reason=str(error))
        if found is None:
            scarce = "one recording only, or no ground truth"
            return Interval(reason="too few images" if groups is None else scarce)
        return Interval(found.low, found.high)


def bootstrap_arguments(key: str, evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """``metric`` and ``classes`` of the bootstrap for a score; None if the bootstrap has no such.

    For a slice there are its ``recordings`` besides.

    Args:
        key: as ``bbox/AP50``, ``bbox/AP-small-classes``, ``bbox/AP-pedestrian`` or
            ``bbox-night/AP``.
        evaluation: ``evaluation.json``, which names the classes and the recordings of slices.
    """
    part, whole = slice_of(key)
    if part:
        slices, found = evaluation.get("slices") or {}, bootstrap_arguments(whole, evaluation)
        if part not in slices or found is None:
            return None
        return found | {"recordings": sorted(slices[part].get("recordings") or ())}
    if not key.startswith(_TASK):
        return None
    score, classes = key.removeprefix(_TASK), list(evaluation.get("classes") or [])
    if score in METRICS:
        return {"metric": score, "classes": None}
    name = score.removeprefix("AP-")
    names = evaluation.get("small_classes") if score == _SMALL_CLASSES else [name]
    if not score.startswith("AP-") or not names or not set(names) <= set(classes):
        return None
    return {"metric": "AP", "classes": [classes.index(name) for name in names]}


def _load(path: Path, recordings: Sequence[str] | None) -> Matches:
    """The matches of a split, or of some of its recordings."""
    if recordings is None:
        return Matches.load(path)
    table = BoxTable.load(path)
    return match_table(table.select_images(np.isin(table.image_recording, recordings)))


def read_stored(path: Path) -> dict[str, Any]:
    """A file of computed numbers; empty if there is none or it is damaged, which is said."""
    try:
        return read_json(path) or {}
    except ValueError as error:
        logger.warning("%s It is made anew.", error)
        return {}


def recordings_of(matches_file: Path) -> np.ndarray | None:
    """The recording of each image (N,), whose frames are resampled together; None for images.

    Raises:
        ValueError: the file is damaged.
    """
    name = "image_recording"
    return load_columns(matches_file, BoxTable, [name], required=False).get(name)


def checksum(path: Path) -> str:
    """SHA-256 of a file's content, by which computed numbers are found again."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
