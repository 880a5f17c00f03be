"""Objects that an experiment finds and the baseline misses, and the other way round."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from boxmetrics.matches import Matches
from boxmetrics.matching import Ints
from boxmetrics.tables import Mask
from labbook.report.data import ReportData
from labbook.report.errors import IOU, MIN_SCORE, area_ranges, load_matches
from labbook.results.rules import TRUTH
from runfolder.files import read_json
from runfolder.run import Run

logger = logging.getLogger(__name__)

SHOWN = 12
"""Crops for each experiment and direction."""
_LARGEST = 64 * 1024  # bytes of a crop; a page of a few megabytes holds all that are shown

Pair = tuple[Run, Run]  # a run and the one of the baseline that it is held against


class Changed(NamedTuple):
    """Rows of the ground truth that one run finds and the other misses."""

    gained: Ints
    lost: Ints


def gallery(data: ReportData) -> dict[str, Any]:
    """What each experiment gains and loses, and the pictures, each once, by their id."""
    pictures: dict[str, str] = {}
    blocks, lacking = [], []
    for title, baseline in data.experiments["baseline"].dropna().items():
        runs = data.experiments["runs"]
        pair = pair_of(runs[title], runs[baseline], data.split)
        if pair is None:
            lacking.append(data.labels[title])
        else:
            blocks.append({"title": data.labels[title], **_block(pair, data.split, pictures)})
    return {"blocks": blocks, "lacking": lacking, "pictures": pictures}


def changed(candidate: Matches, baseline: Matches) -> Changed:
    """Which objects only one of two runs over the same data finds; crowd regions do not count.

    Raises:
        ValueError: the ground truth is not the same.
    """
    if not all(np.array_equal(getattr(candidate, n), getattr(baseline, n)) for n in TRUTH):
        raise ValueError("the two runs were evaluated on different ground truth")
    ours, theirs = found(candidate), found(baseline)
    return Changed(np.flatnonzero(ours & ~theirs), np.flatnonzero(theirs & ~ours))


def found(matches: Matches) -> Mask:
    """Which ground truth (G,) a prediction of enough confidence has matched."""
    by = matches.gt_det[:, matches.columns(IOU)[0]]
    sure = np.append(matches.det_score >= MIN_SCORE, False)
    return sure[by] & ~matches.gt_crowd


def pair_of(runs: Iterable[Run], baselines: Iterable[Run], split: str) -> Pair | None:
    """The first finished run of each that has matches; of the same seed if there is such a pair."""
    ours, theirs = (
        [run for run in side if run.is_finished and run.matches_file(split)]
        for side in (runs, baselines)
    )
    pairs = sorted(product(ours, theirs), key=lambda pair: pair[0].seed != pair[1].seed)
    return next(iter(pairs), None)


def stored_crops(pair: Pair, split: str) -> dict[int, tuple[Path, int]]:
    """File and image id of each stored crop by row of the ground truth.

    Both runs keep the same objects; those of the baseline win, as all experiments share them.
    """
    kept: dict[int, tuple[Path, int]] = {}
    for one in pair:
        folder = one.folder / "evaluation" / split
        try:
            for item in (read_json(folder / "gallery.json") or {}).get("objects", []):
                file = folder / "gallery" / Path(item["file"]).name
                kept[int(item["gt"])] = (file, int(item["image_id"]))
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("%s is no list of crops: %r", folder / "gallery.json", error)
    return kept


def _block(pair: Pair, split: str, pictures: dict[str, str]) -> dict[str, Any]:
    """Counts and crops of one experiment; ``problem`` alone if a file is damaged."""
    try:
        files = (one.matches_file(split) for one in pair)
        matches, before = (load_matches(path) for path in files if path)
        change = changed(matches, before)
    except ValueError as error:
        return {"problem": str(error)}
    evaluation, kept = pair[0].evaluation(split), stored_crops(pair, split)
    classes = dict(enumerate(evaluation.get("classes") or []))
    strips = []
    for name, rows in change._asdict().items():
        shown = []
        for row in sorted(set(rows.tolist()) & kept.keys(), key=lambda row: matches.gt_area[row]):
            path, image_id = kept[row]
            if len(shown) < SHOWN and (content := _read(path)):
                picture = f"crop-{hashlib.sha256(content).hexdigest()[:12]}"
                pictures[picture] = base64.b64encode(content).decode("ascii")
                k, side = int(matches.gt_class[row]), matches.gt_area[row] ** 0.5
                text = f"{classes.get(k, k)}, {side:.0f} px"
                shown.append({"id": picture, "image": image_id, "text": text})
        strips.append({"text": f"{len(rows):,} {name}", "shown": shown})
    return {"strips": strips, "sizes": _count_by_size(area_ranges(evaluation), matches, change)}


def _count_by_size(
    ranges: Mapping[str, tuple[float, float] | None], matches: Matches, change: Changed
) -> dict[str, list[int]]:
    """How many objects there are, are gained and are lost, by name of the size."""
    counts = {}
    for size, limits in ranges.items():
        low, high = limits or (-np.inf, np.inf)
        inside = (matches.gt_area >= low) & (matches.gt_area < high) & ~matches.gt_crowd
        counts[size] = [int(rows.sum()) for rows in (inside, *(inside[rows] for rows in change))]
    return counts


def _read(path: Path) -> bytes | None:
    """The picture; None, and said, if it is missing or is no small PNG."""
    try:
        content = path.read_bytes()
    except OSError as error:
        logger.warning("A crop is left out: %s", error)
        return None
    if not content.startswith(b"\x89PNG") or len(content) > _LARGEST:
        logger.warning("%s is left out: it is no PNG of up to %d bytes.", path, _LARGEST)
        return None
    return content
