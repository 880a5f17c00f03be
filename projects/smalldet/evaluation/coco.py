"""COCO box evaluation behind Detectron2's evaluator interface."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm

from boxmetrics.matches import Matches
from runfolder.names import MATCHES
from smalldet.data.catalog import records_of
from smalldet.data.mapper import read_checked
from smalldet.evaluation.gallery import write_gallery
from smalldet.evaluation.outputs import Predictions, coco_results, write_outputs
from smalldet.evaluation.scores import Scores, bbox_scores
from smalldet.evaluation.truth import CocoTruth, truth_of

logger = logging.getLogger(__name__)

NO_PREDICTIONS = (
    "No predictions on %d images of %s, so every score is 0. The usual causes: the score threshold "
    "of the head is above all scores (lower it), the weights were not loaded (read the load report "
    "in the log), or the classes of head and data set do not correspond (compare their order)."
)
SIZE_BINS = {"APs": "small", "APm": "medium", "APl": "large"}


@dataclass
class Collected:
    """What one process has seen since the last reset."""

    predictions: dict[int, Predictions] = field(default_factory=dict)
    repeated_images: int = 0
    dropped: int = 0

    def add(self, other: Collected) -> None:
        """Take over what another process has seen; the first to see an image keeps it."""
        overlap = self.predictions.keys() & other.predictions.keys()
        self.predictions = {**other.predictions, **self.predictions}
        self.repeated_images += other.repeated_images + len(overlap)
        self.dropped += other.dropped


class CocoBoxEvaluator(DatasetEvaluator):
    """Average precision and recall of boxes on one split, in percent.

    Only the images given to :meth:`process` are evaluated, so a shortened loader is scored on
    what it showed. Several processes each see a part; the first one gathers and scores.

    With ``output_dir`` it leaves three files there: ``predictions.json`` (COCO's results format),
    ``matches.npz`` (:class:`boxmetrics.matches.Matches`) and ``evaluation.json`` (the scores, how
    they were computed, and the checksum of the annotation file).
    """

    def __init__(self, dataset: str, output_dir: str = "") -> None:
        """Look up the ground truth.

        Args:
            dataset: Registered name of the images, as ``heads_valid``.
            output_dir: Folder of the files above; empty writes none.

        Raises:
            ValueError: nothing is registered under that name.
        """
        self.output_dir = output_dir
        self.truth: CocoTruth = truth_of(dataset)
        self.split = self.truth.split
        self.reset()

    def reset(self) -> None:
        """Forget all predictions."""
        self._collected = Collected()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Take the predictions of some images; an image seen before is not counted again.

        Args:
            inputs: Dicts with ``image_id`` and, where known, ``height`` and ``width`` (pixels of
                the original image).
            outputs: For each input ``{"instances": Instances}`` with ``pred_boxes`` (xyxy_abs,
                pixels of the original image), ``scores`` and ``pred_classes``. Predictions
                with a non-finite score or box, or with a box turned inside out, are dropped and
                counted.

        Raises:
            ValueError: an image or class that the annotation file does not know, or boxes in
                another frame than the original image.
        """
        for image, output in zip(inputs, outputs, strict=True):
            image_id, instances = int(image["image_id"]), output["instances"]
            self._check(image, instances)
            if image_id in self._collected.predictions:
                self._collected.repeated_images += 1
                continue
            predictions = to_predictions(instances)
            kept = predictions.select(predictions.is_valid())
            self._collected.dropped += len(predictions) - len(kept)
            self._collected.predictions[image_id] = kept

    def evaluate(self) -> dict[str, Scores]:
        """Scores of all processes' predictions on the first process, ``{}`` on the others.

        Returns:
            ``{"bbox": scores}`` with the keys of :func:`smalldet.evaluation.scores.bbox_scores`
            and ``num_images``, ``num_ground_truth`` (crowd regions not counted),
            ``num_predictions`` and ``num_dropped``. None stands where there is no ground truth.
        """
        comm.synchronize()
        parts = comm.gather(self._collected, dst=0)
        if not comm.is_main_process():
            return {}
        collected = Collected()
        for part in parts:
            collected.add(part)
        predictions = dict(sorted(collected.predictions.items()))
        results = coco_results(predictions, self.truth)
        scores = bbox_scores(self.truth, results, predictions) | self._counts(collected)
        if self.output_dir:
            write_outputs(Path(self.output_dir), self.truth, predictions, results, scores)
        self._report(scores, collected)
        return {"bbox": scores}

    def write_gallery(self) -> None:
        """Leave crops of some true objects beside the files of :meth:`evaluate`, if it left any.

        See :mod:`smalldet.evaluation.gallery`.
        """
        if not self.output_dir or not comm.is_main_process():
            return
        records = {record["image_id"]: record for record in records_of(self.truth.name)}
        folder = Path(self.output_dir)
        write_gallery(
            folder,
            Matches.load(folder / MATCHES),
            lambda image_id: read_checked(records[image_id], "RGB"),
        )

    def _check(self, image: dict[str, Any], instances: Instances) -> None:
        """Refuse what would be scored wrongly."""
        image_id = int(image["image_id"])
        if image_id not in self.truth.annotations:
            raise ValueError(
                f"Image id {image_id} is not among the {len(self.truth.annotations)} images of "
                f"{self.truth.path}. Evaluate the split {self.split!r} with its own loader."
            )
        size = (image.get("height"), image.get("width"))
        if None not in size and tuple(instances.image_size) != size:
            raise ValueError(
                f"The boxes of image {image_id} refer to {tuple(instances.image_size)} pixels "
                f"(height, width), but the image has {size}. A detector must return boxes in "
                "pixels of the original image (detector_postprocess does that)."
            )
        known = len(self.truth.classes)
        if len(instances) and not 0 <= (label := farthest_class(instances.pred_classes)) < known:
            raise ValueError(
                f"Class {label} was predicted on image {image_id}, but {self.truth.path} has "
                f"{known} classes, counted from 0. Set the head's num_classes to the data set's."
            )

    def _counts(self, collected: Collected) -> Scores:
        """How many images, boxes and predictions the scores rest on."""
        boxes = [a for image_id in collected.predictions for a in self.truth.annotations[image_id]]
        return {
            "num_images": len(collected.predictions),
            "num_ground_truth": sum(not box["iscrowd"] for box in boxes),
            "num_predictions": sum(len(p) for p in collected.predictions.values()),
            "num_dropped": collected.dropped,
        }

    def _report(self, scores: Scores, collected: Collected) -> None:
        """Log the scores and everything that a reader of them should know."""
        shown, total = len(collected.predictions), len(self.truth.annotations)
        if shown < total:
            logger.info("%s: evaluated %d of %d images.", self.split, shown, total)
        if collected.repeated_images:
            logger.info("%d images came more than once; counted once.", collected.repeated_images)
        if collected.dropped:
            logger.warning(
                "Dropped %d predictions with a non-finite score or box, or with a box turned "
                "inside out. Finite weights do not give such; look at the training loss.",
                collected.dropped,
            )
        if not scores["num_predictions"]:
            logger.warning(NO_PREDICTIONS, shown, self.split)
        _report_missing_truth(scores, self.truth.classes)
        columns = [f"{key} {score_text(value)}" for key, value in scores.items()]
        logger.info("Boxes on %s, in percent: %s", self.split, ", ".join(columns))


def to_predictions(instances: Instances) -> Predictions:
    """Predictions of one image as arrays, numbers as float64."""
    boxes = instances.pred_boxes.tensor.detach().to("cpu", torch.float64).numpy()
    scores = instances.scores.detach().to("cpu", torch.float64).numpy()
    classes = instances.pred_classes.detach().to("cpu", torch.int64).numpy()
    return Predictions(boxes.reshape(-1, 4), scores, classes)


def farthest_class(classes: torch.Tensor) -> int:
    """The class farthest from the allowed ones: the lowest if negative, else the highest."""
    lowest = int(classes.min())
    return lowest if lowest < 0 else int(classes.max())


def _report_missing_truth(scores: Scores, classes: Sequence[str]) -> None:
    """Name what has no ground truth and therefore no score."""
    if not scores["num_ground_truth"]:
        logger.warning("The images evaluated hold no ground-truth box: AP and AR are null.")
        return
    missing = [f"class {name!r}" for name in classes if scores[f"AP-{name}"] is None]
    missing += [f"{name} boxes" for key, name in SIZE_BINS.items() if scores[key] is None]
    if missing:
        logger.info("No ground truth, so null and left out of means: %s.", ", ".join(missing))


def score_text(value: float | None) -> str:
    """A score for the log."""
    return "null" if value is None else str(value) if isinstance(value, int) else f"{value:.2f}"
