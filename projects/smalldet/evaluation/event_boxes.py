"""Box evaluation of event recordings by several named protocols at once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances

from boxmetrics.average_precision import MAX_DETECTIONS
from boxmetrics.boxes import as_boxes, box_area, xyxy_to_xywh
from boxmetrics.matches import save_matches
from boxmetrics.matching import COCO_THRESHOLDS
from boxmetrics.protocols import COCO, Result, evaluate, get_protocol
from boxmetrics.tables import BoxTable, Frame
from pictures.events import count_histogram, counts_to_image
from pictures.frame import enlarged
from smalldet.data.catalog import records_of
from smalldet.evaluation.evaluator import (
    BoxEvaluator,
    Collected,
    check_classes,
    to_frame,
    to_numpy,
)
from smalldet.evaluation.event_frames import Steps, labelled_steps, sensor_pixels
from smalldet.evaluation.gallery import Picture
from smalldet.evaluation.outputs import write_outputs
from smalldet.evaluation.scores import Scores
from smalldet.evaluation.slices import recordings_by_slice

logger = logging.getLogger(__name__)


class EventBoxEvaluator(BoxEvaluator):
    """Average precision and recall of boxes on one split of event recordings, in percent.

    Each labelled time is an image, also one that is known to be empty. Only what is given to
    :meth:`process` is evaluated. Several processes each see a part; the first one gathers and
    scores the union: ``{"bbox": scores, "<protocol>": scores, ...}``, under ``bbox`` those of
    ``coco``. Keys are those of :class:`boxmetrics.protocols.Result`, and under ``bbox``
    ``num_dropped`` (broken predictions), under the others ``dropped_images``,
    ``dropped_ground_truth`` and ``dropped_predictions`` (left out by the protocol). None stands
    where there is no ground truth. Slices of the recordings are scored by ``coco``, too, under
    ``bbox-<slice>``, as ``bbox-night``.

    With ``output_dir`` it leaves three files there: ``predictions.json`` (COCO's results format,
    pixels of the sensor, with the confidence in the class beside the score), ``matches.npz``
    (:class:`boxmetrics.matches.Matches`, with recording and time of each image; also to be read
    by :class:`boxmetrics.tables.BoxTable`), and ``evaluation.json`` (each protocol: its rules and
    version, what it dropped, its scores; which recordings are in which slice; how many boxes were
    ``left_out`` of the recordings before).
    """

    def __init__(
        self,
        dataset: str,
        output_dir: str = "",
        protocols: Sequence[str] = ("prophesee", "etram_published"),
        slices: Mapping[str, str] | str | None = None,
    ) -> None:
        """Look up the recordings.

        Args:
            dataset: Registered name of the recordings, as ``etram_nearest_val``; with them are
                registered the ``split`` and its ``class_map`` (``name``; ``classes``, by class
                number; ``small``, the numbers whose mean AP is reported). Image ids count the steps
                of all recordings, in their order.
            output_dir: Folder of the files above; empty writes none.
            protocols: Names from :data:`boxmetrics.protocols.PROTOCOLS`, scored beside ``coco``.
            slices: Patterns of recording names by slice, or a CSV file; see
                :func:`smalldet.evaluation.slices.recordings_by_slice`.

        Raises:
            ValueError: no protocol or no data set has that name, or the slices cannot be read.
        """
        recordings = records_of(dataset)
        self._steps = Steps(recordings)
        self.left_out = sum((recording.left_out for recording in recordings), Counter())
        names = [recording.name for recording in recordings]
        self.slices = recordings_by_slice(slices, names, MetadataCatalog.get(dataset).split)
        self.class_map = MetadataCatalog.get(dataset).class_map
        self.protocols = [COCO, *(get_protocol(n) for n in protocols if n != COCO.name)]
        super().__init__(MetadataCatalog.get(dataset).split, output_dir)

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Take the predictions of some labelled times; one seen before is not counted again.

        Args:
            inputs: Sequence samples, see :func:`smalldet.evaluation.event_frames.labelled_steps`.
            outputs: For each labelled step ``instances``, ``sample`` and ``step``; ``Instances``
                with ``pred_boxes`` (xyxy_abs, pixels of the network's input or of the sensor, as
                ``image_size`` says; they may reach out of the frame and are not cut), ``scores``,
                ``pred_classes`` and, where the score holds an objectness too,
                ``class_confidence``. Predictions with a non-finite score or box, or with a box
                turned inside out, are dropped and counted.

        Raises:
            ValueError: a frame that would be scored wrongly; the text says why.
        """
        for sample, step, instances in labelled_steps(inputs, outputs):
            self.collected.take(*self._frame(sample, step, instances))

    def _frame(self, sample: dict[str, Any], step: int, instances: Instances) -> tuple[Frame, int]:
        """Ground truth and predictions of a step in pixels of the sensor."""
        image_id, size = int(sample["image_ids"][step]), tuple(sample["events"].shape[-2:])
        recording, _ = self._steps.find(image_id)
        scale = sensor_pixels(recording)
        boxes = as_boxes(to_numpy(sample["boxes"][step]) * scale)
        classes = to_numpy(sample["classes"][step], torch.int64).reshape(-1)
        if len(boxes) != len(classes):
            raise ValueError(
                f"Image {image_id} has {len(boxes)} true boxes but {len(classes)} classes; one "
                "each is expected."
            )
        sensor, found_in = (size[0] * scale, size[1] * scale), tuple(instances.image_size)
        if found_in not in (size, sensor):
            raise ValueError(
                f"The boxes of image {image_id} refer to {found_in} pixels (height, width); "
                f"expected is the network's input, {size} without padding, or the sensor, {sensor}."
            )
        for found, what in ((classes, "is true"), (instances.pred_classes, "was predicted")):
            known = len(self.class_map.classes)
            check_classes(found, known, f"{what} in image {image_id}", "the class map")
        truth = {
            "image_id": image_id,
            "gt_boxes": boxes,
            "gt_classes": classes,
            "gt_areas": box_area(boxes),
            "gt_crowd": np.zeros(len(classes), bool),
        }
        time = int(sample["timestamps_us"][step])
        place = {"recording": recording.name, "timestamp_us": time}
        return to_frame(instances, truth, scale if found_in == size else 1, **place)

    def _score(self, collected: Collected) -> dict[str, Scores]:
        table = BoxTable.of_frames(collected.frames.values())
        results = [
            evaluate(protocol, table, self.class_map.classes, self.class_map.small)
            for protocol in self.protocols
        ]
        sliced = {name: self._of_recordings(table, chosen) for name, chosen in self.slices.items()}
        self._report(results, sliced)
        coco, *others = results
        scores = {"bbox": coco.scores | {"num_dropped": collected.dropped}}
        scores |= {f"bbox-{name}": result.scores for name, result in sliced.items()}
        scores |= {r.protocol.name: r.scores | _dropped_counts(r) for r in others}
        if self.output_dir:
            facts = self._facts(table, results, collected)
            facts["slices"] = {
                name: {"recordings": self.slices[name], "results": result.scores}
                for name, result in sliced.items()
            }
            folder = Path(self.output_dir)
            write_outputs(folder, event_results(table), partial(save_matches, table), facts)
        return scores

    def _of_recordings(self, table: BoxTable, names: Sequence[str]) -> Result:
        """The scores by ``coco`` of some recordings alone."""
        chosen = table.select_images(np.isin(table.image_recording, names))
        return evaluate(COCO, chosen, self.class_map.classes, self.class_map.small)

    def _classes(self) -> Sequence[str]:
        return self.class_map.classes

    def _picture(self, image_id: int) -> Picture:
        recording, step = self._steps.find(image_id)
        histogram = recording.events(step, step + 1)[0]
        recording.close()
        image = counts_to_image(*count_histogram(histogram))
        return enlarged(image, sensor_pixels(recording), smooth=False)

    def _facts(
        self, table: BoxTable, results: Sequence[Result], collected: Collected
    ) -> dict[str, Any]:
        """By which rules the scores were computed, and what each protocol dropped."""
        main, classes = results[0], self.class_map.classes
        own = any(f.class_confidence is not None for f in collected.frames.values())
        return {
            "protocol": main.protocol.name,
            "protocol_version": main.protocol.version,
            "evaluator": "boxmetrics",
            "split": self.split,
            "class_map": self.class_map.name,
            "classes": list(classes),
            "small_classes": [classes[k] for k in self.class_map.small],
            "num_dropped": collected.dropped,
            "left_out": dict(self.left_out),
            "class_confidence": "own" if own else "equal to the score",
            "num_recordings": len(np.unique(table.image_recording)),
            "num_empty_images": len(table.image_ids) - len(np.unique(table.gt_image)),
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

    def _report(self, results: Sequence[Result], sliced: Mapping[str, Result]) -> None:
        """Log the scores and everything that a reader of them should know."""
        self.warn_of_nothing(results[0].scores)
        if self.left_out:
            reasons = ", ".join(f"{number} {reason}" for reason, number in self.left_out.items())
            logger.info("Not in the labels of %s, whatever the protocol: %s.", self.split, reasons)
        classes = self.class_map.classes
        for name, result in sliced.items():
            self.log_scores(result.scores, (), f"{name} of {self.split}")
        for result in results:
            whose = f"{self.split} by {result.protocol.name}"
            self.log_missing(result.scores, classes, whose)
            self.log_scores(result.scores, () if result is not results[0] else classes, whose)
            logger.info("Dropped by %s: %s.", result.protocol.name, result.dropped)


def _dropped_counts(result: Result) -> Scores:
    """How much a protocol left out, whatever the reason."""
    dropped = result.dropped
    return {
        "dropped_images": sum(dropped.images.values()),
        "dropped_ground_truth": sum(dropped.ground_truth.values()),
        "dropped_predictions": sum(dropped.predictions.values()),
    }


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
