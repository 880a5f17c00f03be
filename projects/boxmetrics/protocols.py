"""Evaluation protocols by name, so that a number says how it was made.

All are computed from one :class:`boxmetrics.tables.BoxTable`; each reports what it drops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from boxmetrics.average_precision import AP_DETECTIONS, MAX_DETECTIONS, Curves, precision_recall
from boxmetrics.boxes import Floats
from boxmetrics.matching import AREA_RANGES, Mask
from boxmetrics.tables import BoxTable

Scores = dict[str, float | None]


@dataclass(frozen=True)
class Protocol:
    """What is scored, and how. Lengths are in pixels of the sensor (of the original image).

    Attributes:
        name: how results and tables call it.
        version: raised whenever the same input would give another number.
        meaning: one sentence for readers of a table.
        skip_us: labelled times up to and including this one are dropped with their boxes, on the
            recording's clock in microseconds; None keeps all.
        min_diagonal: boxes with a shorter diagonal are dropped, true and predicted ones alike.
        min_side: likewise for the shorter side.
        score_empty_images: whether images without ground truth, from the start or by the rules
            above, stay; if not, their predictions are dropped with them: false alarms are free.
        class_agnostic: whether the scores over all classes (AP, AP50, APs, AR@100, ...) take every
            class for the same one. Scores of single classes never do.
        rank_by: the score, or the confidence in the class alone (without objectness).
        resolution: pixels per pixel of the sensor in which areas are measured for APs, APm, APl
            and their kin: 1 the sensor itself, 0.5 half resolution. Limits: 32² and 96².
    """

    name: str
    version: int
    meaning: str
    skip_us: int | None = None
    min_diagonal: float = 0.0
    min_side: float = 0.0
    score_empty_images: bool = True
    class_agnostic: bool = False
    rank_by: Literal["score", "class_confidence"] = "score"
    resolution: float = 1.0

    def area_ranges(self) -> Floats:
        """COCO's ranges of area (4, 2) as square pixels of the sensor: all, small, ..."""
        return np.array(list(AREA_RANGES.values()), np.float64) / self.resolution**2

    def describe(self) -> dict[str, Any]:
        """All that defines the numbers, for a record."""
        limits = {"area_ranges": dict(zip(AREA_RANGES, self.area_ranges().tolist(), strict=True))}
        return asdict(self) | limits | {"ap_detections": AP_DETECTIONS}


COCO = Protocol(
    name="coco",
    version=1,
    meaning="All boxes count, classes matter, times known to be empty are scored.",
)
PROPHESEE = Protocol(
    name="prophesee",
    version=1,
    meaning=(
        "Prophesee's filter for 1280 x 720 recordings (Perot et al., Learning to Detect Objects "
        "with a 1 Megapixel Event Camera, 2020, arXiv 2009.13436), as used by RVT at half "
        "resolution: not the first 0.5 s, no box with a diagonal below 60 or a side below 20 "
        "sensor pixels, no time without such a box."
    ),
    skip_us=500_000,
    min_diagonal=60.0,
    min_side=20.0,
    score_empty_images=False,
    resolution=0.5,
)
RVT_PUBLISHED = replace(
    PROPHESEE,
    name="rvt_published",
    meaning=(
        "As the code published with RVT (Gehrig and Scaramuzza, CVPR 2023) computes it on 1280 x "
        "720 recordings: Prophesee's filter at half resolution, ranked by the confidence in the "
        "class alone."
    ),
    rank_by="class_confidence",
)
PROPHESEE_GEN1 = replace(
    PROPHESEE,
    name="prophesee_gen1",
    meaning=(
        "Prophesee's filter for its 304 x 240 recordings (de Tournemire et al., A Large Scale "
        "Event-based Detection Dataset for Automotive, 2020, arXiv 2001.08499): not the first "
        "0.5 s, no box with a diagonal below 30 or a side below 10 sensor pixels, no time without "
        "such a box."
    ),
    min_diagonal=30.0,
    min_side=10.0,
    resolution=1.0,
)
RVT_PUBLISHED_GEN1 = replace(
    PROPHESEE_GEN1,
    name="rvt_published_gen1",
    meaning=(
        "As the code published with RVT computes it on 304 x 240 recordings: Prophesee's filter "
        "for them, ranked by the confidence in the class alone."
    ),
    rank_by="class_confidence",
)
ETRAM_PUBLISHED = replace(
    PROPHESEE,
    name="etram_published",
    meaning=(
        "As the code published with eTraM (Verma et al., CVPR 2024) computes it: Prophesee's "
        "filter at half resolution, scores over all classes without regard to class, ranked by "
        "the confidence in the class alone."
    ),
    class_agnostic=True,
    rank_by="class_confidence",
)
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            COCO,
            PROPHESEE,
            RVT_PUBLISHED,
            ETRAM_PUBLISHED,
            PROPHESEE_GEN1,
            RVT_PUBLISHED_GEN1,
        )
    }
)


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: there is none; the text lists the names.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"Unknown protocol {name!r}; expected one of {sorted(PROTOCOLS)}.")
    return PROTOCOLS[name]


@dataclass(frozen=True)
class Dropped:
    """What a protocol left out, by reason; a box with several reasons counts under the first.

    Reasons, in order: ``early`` (labelled time within the skipped start), ``diagonal``, ``side``,
    ``empty_image`` (the image has no ground truth, or none left).
    """

    images: dict[str, int]
    ground_truth: dict[str, int]
    predictions: dict[str, int]

    def __str__(self) -> str:
        parts = [f"{what.replace('_', ' ')}: {_reasons(n)}" for what, n in asdict(self).items()]
        return "; ".join(parts)


@dataclass(frozen=True)
class Result:
    """The scores of one protocol.

    Attributes:
        protocol: by which rules.
        scores: in percent; None where there is no ground truth. ``AP`` (mean over IoU
            0.50:0.05:0.95), ``AP50``, ``AP75``, ``APs``, ``APm``, ``APl``, ``AR@1``, ``AR@10``,
            ``AR@100``, ``AR@300``, ``ARs``, ``ARm``, ``ARl`` (at 100); for each class
            ``AP-<class>``, ``APs-<class>``, ``APm-<class>``, ``APl-<class>``; where small classes
            are named, ``AP-small-classes``, the mean of their ``AP-<class>``. Then the numbers
            ``num_images``, ``num_ground_truth`` (crowd regions not counted), ``num_predictions``
            that they rest on.
        dropped: what was left out.
        undefined: the keys that are None, and therefore in no mean.
    """

    protocol: Protocol
    scores: Scores
    dropped: Dropped
    undefined: tuple[str, ...]


def evaluate(
    protocol: Protocol,
    table: BoxTable,
    classes: Sequence[str],
    small_classes: Sequence[int] = (),
) -> Result:
    """Score ``table`` by ``protocol``.

    Args:
        protocol: One of :data:`PROTOCOLS`, or a changed copy under a name of its own.
        table: Predictions and ground truth, in pixels of the sensor.
        classes: Names; the position is the class number.
        small_classes: Numbers of the classes whose mean AP is ``AP-small-classes``.
    """
    kept, dropped = keep(protocol, table)
    if protocol.rank_by == "class_confidence":
        kept = kept.ranked_by_class_confidence()
    by_class = precision_recall(kept, len(classes), protocol.area_ranges())
    overall = by_class
    if protocol.class_agnostic:
        overall = precision_recall(kept.as_one_class(), 1, protocol.area_ranges())
    scores = _overall_scores(overall) | _class_scores(by_class, classes, small_classes)
    undefined = tuple(name for name, value in scores.items() if value is None)
    counts = {
        "num_images": len(kept.image_ids),
        "num_ground_truth": int(np.count_nonzero(~kept.gt_crowd)),
        "num_predictions": len(kept.det_score),
    }
    return Result(protocol, scores | counts, dropped, undefined)


def keep(protocol: Protocol, table: BoxTable) -> tuple[BoxTable, Dropped]:
    """What ``protocol`` scores of ``table``, and how much it drops and why."""
    early = np.zeros(len(table.image_ids), dtype=bool)
    if protocol.skip_us is not None:
        early = table.image_timestamp_us <= protocol.skip_us
    det_reasons = {"early": early[table.det_image]} | _too_small(protocol, table.det_box)
    gt_reasons = {"early": early[table.gt_image]} | _too_small(protocol, table.gt_box)
    image_reasons = {"early": early}
    if not protocol.score_empty_images:
        gt_kept = ~np.any(list(gt_reasons.values()), axis=0)
        empty = np.bincount(table.gt_image[gt_kept], minlength=len(early)) == 0
        image_reasons["empty_image"] = empty
        det_reasons["empty_image"] = empty[table.det_image]
    det_count, det_mask = _count(det_reasons)
    gt_count, gt_mask = _count(gt_reasons)
    image_count, image_mask = _count(image_reasons)
    kept = table.select(~det_mask, ~gt_mask).select_images(~image_mask)
    return kept, Dropped(image_count, gt_count, det_count)


def _too_small(protocol: Protocol, boxes: Floats) -> dict[str, Mask]:
    """Which boxes (B, 4) fall short, by reason."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return {
        "diagonal": (sides**2).sum(axis=1) < protocol.min_diagonal**2,
        "side": sides.min(axis=1, initial=np.inf) < protocol.min_side,
    }


def _count(reasons: Mapping[str, Mask]) -> tuple[dict[str, int], Mask]:
    """How often each reason is the first that applies, and where any does."""
    counts: Counter[str] = Counter()
    dropped = np.zeros(len(next(iter(reasons.values()))), dtype=bool)
    for name, mask in reasons.items():
        counts[name] = int(np.count_nonzero(mask & ~dropped))
        dropped |= mask
    return dict(+counts), dropped


def _overall_scores(curves: Curves) -> Scores:
    """Scores over all classes."""
    sizes = {name[0]: area for area, name in enumerate(AREA_RANGES) if name != "all"}
    return {
        "AP": curves.ap(),
        "AP50": curves.ap(0.5),
        "AP75": curves.ap(0.75),
        **{f"AP{size}": curves.ap(area=area) for size, area in sizes.items()},
        **{f"AR@{limit}": curves.ar(limit) for limit in MAX_DETECTIONS},
        **{f"AR{size}": curves.ar(AP_DETECTIONS, area) for size, area in sizes.items()},
    }


def _class_scores(curves: Curves, names: Sequence[str], small: Sequence[int]) -> Scores:
    """Scores of each class, whole and by size, and the mean of the small classes."""
    bins = {"" if name == "all" else name[0]: area for area, name in enumerate(AREA_RANGES)}
    scores = {
        f"AP{size}-{name}": curves.ap(area=area, classes=[k])
        for size, area in bins.items()
        for k, name in enumerate(names)
    }
    return scores | ({"AP-small-classes": curves.ap(classes=small)} if small else {})


def _reasons(counts: Mapping[str, int]) -> str:
    """Counts for the log."""
    return ", ".join(f"{number} {reason}" for reason, number in counts.items()) or "none"
