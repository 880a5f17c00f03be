"""Bootstrap intervals of differences between runs, computed once for the same matches."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from boxmetrics.bootstrap import METRICS, bootstrap_difference
from boxmetrics.matches import Matches
from runfolder.files import read_json, write_json
from runfolder.run import Run

logger = logging.getLogger(__name__)

LEVEL = 0.95
UNREADABLE = (OSError, ValueError, KeyError, EOFError, BadZipFile)
"""What a damaged ``matches.npz`` raises."""
_FORMAT = 1  # of the cache; raised when the same matches would give another interval
_TASK = "bbox/"  # scores of all boxes in matches.npz; protocols that drop some have other prefixes
_SMALL_CLASSES = "AP-small-classes"


class Bounds(NamedTuple):
    """The interval of a difference, in points of AP."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether it tells the two apart."""
        return self.low > 0 or self.high < 0


class Found(NamedTuple):
    """An interval, or why there is none."""

    bounds: Bounds | None
    reason: str = ""


Difference = Callable[..., Any]  # as boxmetrics.bootstrap.bootstrap_difference


class IntervalCache:
    """Looks intervals up in a file, and computes and adds those that are not there.

    They are found again by the content of the matches, so copied run folders cost nothing and
    runs that were evaluated anew are not mistaken for the old ones.
    """

    def __init__(self, path: Path, bootstrap: Difference = bootstrap_difference) -> None:
        """Read ``path`` if it is there; a damaged file is made anew."""
        self._path = path
        self._bootstrap = bootstrap
        self._announced = False
        try:
            self._known = read_json(path) or {}
        except ValueError as error:
            logger.warning("%s It is made anew.", error)
            self._known = {}
        self._digest = cache(_digest)

    def difference(
        self, candidate: Sequence[Run], baseline: Sequence[Run], split: str, key: str
    ) -> Found:
        """Interval of the mean score of ``candidate`` minus that of ``baseline``.

        Args:
            candidate: finished runs of one experiment with different seeds.
            baseline: those of the other.
            split: ``valid`` or ``test``.
            key: of the score, as ``bbox/AP50``.
        """
        files = [[run.matches_file(split) for run in side] for side in (candidate, baseline)]
        ours, theirs = ([path for path in side if path] for side in files)
        if not ours or not theirs or any(None in side for side in files):
            return Found(None, f"evaluation/{split}/matches.npz is missing")
        arguments = bootstrap_arguments(key, candidate[0].evaluation(split) or {})
        if arguments is None:
            return Found(None, f"{key} cannot be resampled")
        name = self._name(ours, theirs, arguments)
        if name not in self._known:
            self._known[name] = self._compute(ours, theirs, arguments)
            write_json(self._path, self._known)
        found = self._known[name]
        return Found(Bounds(*found["interval"]) if found["interval"] else None, found["reason"])

    def _name(self, ours: list[Path], theirs: list[Path], arguments: dict[str, Any]) -> str:
        sides = [sorted(map(self._digest, paths)) for paths in (ours, theirs)]
        text = json.dumps([_FORMAT, LEVEL, arguments, sides], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _compute(
        self, ours: list[Path], theirs: list[Path], arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """The entry of the cache."""
        if not self._announced:
            logger.info("Computing bootstrap intervals, about a second each; kept for next time.")
            self._announced = True
        try:
            groups = recordings_of(ours[0])
            sides = [[Matches.load(path) for path in paths] for paths in (ours, theirs)]
            found = self._bootstrap(*sides, groups=groups, level=LEVEL, **arguments)
        except UNREADABLE as error:  # or other images
            return {"interval": None, "reason": str(error)}
        if found is None:
            scarce = "one recording only, or no ground truth"
            return {"interval": None, "reason": scarce if groups is not None else "too few images"}
        return {"interval": [found.low, found.high], "reason": ""}


def bootstrap_arguments(key: str, evaluation: dict[str, Any]) -> dict[str, Any] | None:
    """``metric`` and ``classes`` of the bootstrap for a score; None if the bootstrap has no such.

    Args:
        key: as ``bbox/AP50``, ``bbox/AP-small-classes`` or ``bbox/AP-pedestrian``.
        evaluation: ``evaluation.json``, which names the classes.
    """
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


def recordings_of(matches_file: Path) -> np.ndarray | None:
    """The recording of each image (N,), whose frames are resampled together; None for images."""
    with np.load(matches_file, allow_pickle=False) as arrays:
        if "image_recording" not in arrays:
            return None
        return arrays["image_recording"]


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
