"""What an evaluation of event recordings leaves on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from boxmetrics.average_precision import MAX_DETECTIONS
from boxmetrics.boxes import xyxy_to_xywh
from boxmetrics.matching import COCO_THRESHOLDS
from boxmetrics.protocols import Result
from boxmetrics.tables import BoxTable
from runfolder.files import replacing
from runfolder.names import EVALUATION_FACTS, MATCHES, PREDICTIONS
from smalldet.evaluation.outputs import write_json


def write_event_outputs(
    folder: Path, table: BoxTable, results: Sequence[Result], facts: dict[str, Any]
) -> None:
    """Write ``predictions.json``, ``matches.npz`` and ``evaluation.json`` into ``folder``.

    Each file appears complete or not at all. ``matches.npz`` holds all boxes, before any protocol
    drops some.

    Args:
        folder: Made if it is not there.
        table: All predictions and ground truth, in pixels of the sensor.
        results: Of each protocol; the first is the main one.
        facts: More for ``evaluation.json``.
    """
    write_json(folder / PREDICTIONS, event_results(table))
    with replacing(folder / MATCHES) as partial:
        table.save_matches(partial)
    write_json(folder / EVALUATION_FACTS, _description(table, results, facts), 2)


def event_results(table: BoxTable) -> list[dict[str, Any]]:
    """The predictions in COCO's results format, with ``class_confidence`` beside ``score``.

    ``category_id`` is the class number, from 0; boxes are left, top, width, height in pixels of
    the sensor.
    """
    columns = zip(
        table.image_ids[table.det_image].tolist(),
        table.det_class.tolist(),
        xyxy_to_xywh(table.det_box).tolist(),
        table.det_score.tolist(),
        table.det_class_confidence.tolist(),
        strict=True,
    )
    keys = ("image_id", "category_id", "bbox", "score", "class_confidence")
    return [dict(zip(keys, row, strict=True)) for row in columns]


def _description(
    table: BoxTable, results: Sequence[Result], facts: dict[str, Any]
) -> dict[str, Any]:
    """By which rules the scores were computed, and what each protocol dropped."""
    main = results[0]
    return {
        "protocol": main.protocol.name,
        "protocol_version": main.protocol.version,
        "evaluator": "boxmetrics",
        **facts,
        "num_recordings": len(np.unique(table.image_recording)),
        "num_empty_images": int(len(table.image_ids) - len(np.unique(table.gt_image))),
        "boxes": "pixels of the sensor",
        "iou_thresholds": COCO_THRESHOLDS.round(2).tolist(),
        "max_detections": list(MAX_DETECTIONS),
        "protocols": [
            {
                **result.protocol.describe(),
                "dropped": asdict(result.dropped),
                "undefined": list(result.undefined),
                "results": result.scores,
            }
            for result in results
        ],
        "results": main.scores,
    }
