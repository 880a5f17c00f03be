"""Objects that an experiment finds and the baseline misses, and the other way round."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from boxmetrics.matches import Matches
from boxmetrics.matching import Ints
from boxmetrics.tables import Mask
from labbook.report.elements import Section, join, paragraph, table, tag
from labbook.report.errors import IOU, MIN_SCORE, area_ranges, load_matches
from labbook.report.evidence import Evidence
from labbook.results.comparison import Row
from runfolder.files import read_json
from runfolder.run import Run

logger = logging.getLogger(__name__)

SHOWN = 12
"""Crops for each experiment and direction."""
_LARGEST = 64 * 1024  # bytes of a crop; a page of a few megabytes holds all that are shown
_SIDE = 96  # of a crop on the page, in pixels


class Changed(NamedTuple):
    """Rows of the ground truth that one run finds and the other misses."""

    gained: Ints
    lost: Ints


@dataclass
class Crops:
    """The pictures of the page; each is embedded once, however often it is shown."""

    pictures: dict[str, Markup] = field(default_factory=dict)
    """By their id in the page."""

    def add(self, content: bytes) -> str:
        """The id of the picture (PNG)."""
        name = "crop-" + hashlib.sha256(content).hexdigest()[:12]
        data = base64.b64encode(content).decode("ascii")
        self.pictures[name] = tag(
            "image", href=f"data:image/png;base64,{data}", id=name, width=_SIDE, height=_SIDE
        )
        return name

    def definitions(self) -> Markup:
        """Where the pictures are; shows nothing by itself."""
        if not self.pictures:
            return Markup("")
        store = tag("defs", join(self.pictures.values()))
        return tag("svg", store, width=0, height=0, class_="store", aria_hidden="true")


def section(evidence: Evidence) -> Section:
    """A block for each experiment that has a baseline."""
    lead = (
        f"Objects of {evidence.split} that an experiment finds and the baseline misses (gained), "
        f"and the reverse (lost): found is IoU {IOU} with a confidence of at least {MIN_SCORE}. "
        f"The crops are up to {SHOWN} of each, smallest first, out of those that were kept; the "
        "counts are over all objects. With several seeds, it is the first one of each."
    )
    crops = Crops()
    blocks, lacking = [], []
    for entry in evidence.entries:
        if entry.baseline is None:
            continue
        pair = pair_of(entry.row, entry.baseline, evidence.split)
        if pair is None:
            lacking.append(evidence.label(entry.row))
        else:
            blocks.append(_block(evidence.label(entry.row), pair, crops))
    if lacking:
        why = f"no finished run with matches on {evidence.split}, or none of the baseline"
        blocks.append(paragraph(f"Not compared, as there is {why}: {', '.join(lacking)}.", "quiet"))
    content = join([crops.definitions(), *blocks]) or paragraph("There is nothing to compare yet.")
    return Section("gallery", "Objects gained and lost", lead, content)


def changed(candidate: Matches, baseline: Matches) -> Changed:
    """Which objects only one of two runs over the same data finds; crowd regions do not count.

    Raises:
        ValueError: the ground truth is not the same.
    """
    names = ("image_ids", "gt_image", "gt_class", "gt_crowd")
    if not all(np.array_equal(getattr(candidate, n), getattr(baseline, n)) for n in names):
        raise ValueError("the two runs were evaluated on different ground truth")
    ours, theirs = found(candidate), found(baseline)
    return Changed(np.flatnonzero(ours & ~theirs), np.flatnonzero(theirs & ~ours))


def found(matches: Matches) -> Mask:
    """Which ground truth (G,) a prediction of enough confidence has matched."""
    by = matches.gt_det[:, matches.columns(IOU)[0]]
    sure = np.append(matches.det_score >= MIN_SCORE, False)
    return sure[by] & ~matches.gt_crowd


@dataclass(frozen=True)
class Pair:
    """A run and the one of the baseline that it is held against, on one split."""

    split: str
    run: Run
    baseline: Run

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """By which rules and for which classes the run was scored."""
        return self.run.evaluation(self.split) or {}

    def matches(self) -> tuple[Matches, Matches]:
        """Those of the run and of the baseline."""
        paths = [run.matches_file(self.split) for run in (self.run, self.baseline)]
        ours, theirs = (load_matches(path) for path in paths if path)
        return ours, theirs

    def crops(self) -> dict[int, tuple[Path, int]]:
        """File and image id of each stored crop by row of the ground truth.

        Both runs keep the same objects; those of the baseline go first, as all experiments
        share them.
        """
        kept: dict[int, tuple[Path, int]] = {}
        for run in (self.run, self.baseline):
            folder = run.folder / "evaluation" / self.split
            try:
                for item in (read_json(folder / "gallery.json") or {}).get("objects", []):
                    file = folder / "gallery" / Path(item["file"]).name
                    kept[int(item["gt"])] = (file, int(item["image_id"]))
            except (ValueError, KeyError, TypeError) as error:
                logger.warning("%s is no list of crops: %r", folder / "gallery.json", error)
        return kept


def pair_of(row: Row, baseline: Row, split: str) -> Pair | None:
    """The first run of each that has matches; of the same seed if there is such a pair."""
    ours, theirs = (
        [run for run in one.finished if run.matches_file(split)] for one in (row, baseline)
    )
    pairs = [(a, b) for a in ours for b in theirs]
    same = [(a, b) for a, b in pairs if a.seed == b.seed]
    return next((Pair(split, a, b) for a, b in [*same, *pairs]), None)


def _block(title: str, pair: Pair, crops: Crops) -> Markup:
    """Counts and crops of one experiment."""
    try:
        matches, before = pair.matches()
        change, kept = changed(matches, before), pair.crops()
    except ValueError as error:  # a damaged file, which is said here
        return paragraph(f"{title}: cannot be compared, {error}.", "quiet")
    strips = [
        _strip(name, rows, matches, pair, kept, crops)
        for name, rows in (("Gained", change.gained), ("Lost", change.lost))
    ]
    heading = f"{title}: {len(change.gained):,} gained, {len(change.lost):,} lost"
    content = _counts(pair, matches, change) + tag("div", join(strips))
    return tag("h3", heading) + tag("div", content, class_="beside")


def _counts(pair: Pair, matches: Matches, change: Changed) -> Markup:
    """A table by size over all objects."""
    lines = []
    for name, limits in area_ranges(pair.evaluation).items():
        low, high = limits or (-np.inf, np.inf)
        inside = (matches.gt_area >= low) & (matches.gt_area < high) & ~matches.gt_crowd
        gained, lost = (int(np.count_nonzero(inside[rows])) for rows in change)
        lines.append(
            [
                name,
                int(np.count_nonzero(inside)),
                gained,
                lost,
                f"{gained - lost:+}" if gained != lost else "0",
            ]
        )
    return table("All objects by size", ["Size", "Objects", "Gained", "Lost", "Net"], lines)


def _strip(
    title: str,
    rows: Ints,
    matches: Matches,
    pair: Pair,
    kept: Mapping[int, tuple[Path, int]],
    crops: Crops,
) -> Markup:
    """A line of crops with class and size, the smallest objects first."""
    names = pair.evaluation.get("classes") or []
    pictures = []
    for row in sorted((r for r in rows.tolist() if r in kept), key=lambda r: matches.gt_area[r]):
        path, image_id = kept[row]
        content = _read(path) if len(pictures) < SHOWN else None
        if content is not None:
            k, side = int(matches.gt_class[row]), float(np.sqrt(matches.gt_area[row]))
            text = f"{names[k] if k < len(names) else k}, {side:.0f} px"
            pictures.append(_picture(crops.add(content), text, f"{title}, image {image_id}"))
    if not pictures:
        note = f"{len(rows):,}, of which no crop was kept" if len(rows) else "none"
        return paragraph(f"{title}: {note}.", "quiet")
    caption = paragraph(f"{title}: {len(pictures)} of {len(rows):,} shown", "quiet")
    return caption + tag("div", join(pictures), class_="crops")


def _picture(name: str, text: str, hint: str) -> Markup:
    """A stored picture with its caption."""
    use = tag("use", href=f"#{name}")
    drawing = tag(
        "svg", use, viewBox=f"0 0 {_SIDE} {_SIDE}", role="img", aria_label=f"{hint}: {text}"
    )
    return tag("figure", drawing + tag("figcaption", text), class_="crop", title=hint)


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
