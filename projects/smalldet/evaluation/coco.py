"""COCO box evaluation behind Detectron2's evaluator interface."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances

from boxmetrics.boxes import xyxy_to_xywh
from boxmetrics.matches import ImageBoxes, match_images
from boxmetrics.matching import COCO_THRESHOLDS, by_score
from smalldet.data.catalog import records_of
from smalldet.data.mapper import read_checked
from smalldet.evaluation.evaluator import (
    BoxEvaluator,
    Collected,
    check_classes,
    to_frame,
)
from smalldet.evaluation.gallery import Picture
from smalldet.evaluation.outputs import write_outputs
from smalldet.evaluation.scores import AREA_RANGES, MAX_DETECTIONS, Scores, bbox_scores
from smalldet.evaluation.tiles import Tiling
from smalldet.evaluation.truth import CocoTruth, truth_of

logger = logging.getLogger(__name__)


class CocoBoxEvaluator(BoxEvaluator):
    """Average precision and recall of boxes on one split, in percent.

    Only the images given to :meth:`process` are evaluated, so a shortened loader is scored on
    what it showed. Several processes each see a part; the first one gathers and scores:
    ``{"bbox": scores}`` with the keys of :func:`smalldet.evaluation.scores.bbox_scores` and
    ``num_images``, ``num_ground_truth`` (crowd regions not counted), ``num_predictions`` and
    ``num_dropped``. None stands where there is no ground truth.

    With ``output_dir`` it leaves three files there: ``predictions.json`` (COCO's results format),
    ``matches.npz`` (:class:`boxmetrics.matches.Matches`) and ``evaluation.json`` (the scores, how
    they were computed, and the checksum of the annotation file).
    """

    def __init__(
        self,
        dataset: str,
        output_dir: str = "",
        tile: int = 0,
        overlap: float = 0.2,
        tile_merge: str = "nms",
    ) -> None:
        """Look up the ground truth.

        Args:
            dataset: Registered name of the images, as ``heads_valid``.
            output_dir: Folder of the files above; empty writes none.
            tile: Side in px of the tiles that the best model is scored with besides, as
                ``tiled/AP50``; 0: only whole images.
            overlap: Of tiles, as a share of their side.
            tile_merge: "nms" or "nmm"; see :class:`smalldet.evaluation.tiles.Tiling`.

        Raises:
            ValueError: nothing is registered under that name, or there are no such tiles.
        """
        self.tiling = Tiling(tile, overlap, tile_merge) if tile else None
        self.truth: CocoTruth = truth_of(dataset)
        super().__init__(self.truth.split, output_dir)

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
            self._check(image, output["instances"])
            truth = self.truth.of_image(int(image["image_id"]))
            self.collected.take(*to_frame(output["instances"], truth))

    def _score(self, collected: Collected) -> dict[str, Scores]:
        images = [frame.image for frame in collected.frames.values()]
        results = coco_results(images, self.truth)
        scores = bbox_scores(self.truth, results, collected.frames) | {
            "num_images": len(images),
            "num_ground_truth": sum((np.asarray(i.gt_crowd) == 0).sum().item() for i in images),
            "num_predictions": len(results),
            "num_dropped": collected.dropped,
        }
        if self.output_dir:
            # Matched over all sizes. Scores by size need predictions.json: for them COCO matches
            # anew, with boxes of other sizes set aside.
            facts = self._facts() | {"results": scores}
            write_outputs(Path(self.output_dir), results, match_images(images).save, facts)
        self._report(scores)
        return {"bbox": scores}

    def _classes(self) -> Sequence[str]:
        return self.truth.classes

    def _picture(self, image_id: int) -> Picture:
        records = (r for r in records_of(self.truth.name) if r["image_id"] == image_id)
        return read_checked(next(records), "RGB")

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
        what = f"was predicted on image {image_id}"
        known = len(self.truth.classes)
        check_classes(instances.pred_classes, known, what, str(self.truth.path))

    def _facts(self) -> dict[str, Any]:
        """By which rules, with which program and on which file the scores were computed."""
        return {
            "protocol": "coco",
            "evaluator": f"faster-coco-eval {version('faster-coco-eval')}",
            "split": self.split,
            "annotation_file": self.truth.path.name,
            "annotation_sha256": self.truth.sha256,
            "images_in_file": len(self.truth.annotations),
            "classes": list(self.truth.classes),
            "iou_thresholds": COCO_THRESHOLDS.round(2).tolist(),
            "max_detections": list(MAX_DETECTIONS),
            "areas": "annotated area, square pixels of the original image",
            "area_ranges": {name: list(limits) for name, limits in AREA_RANGES.items()},
        }

    def _report(self, scores: Scores) -> None:
        """Log the scores and everything that a reader of them should know."""
        shown, total = scores["num_images"], len(self.truth.annotations)
        if shown != total:
            logger.info("%s: evaluated %d of %d images.", self.split, shown, total)
        self.warn_of_nothing(scores)
        self.log_missing(scores, self.truth.classes, self.split)
        self.log_scores(scores, self.truth.classes, self.split)


def coco_results(images: list[ImageBoxes], truth: CocoTruth) -> list[dict[str, Any]]:
    """Predictions in COCO's results format, image by image, each from high to low score.

    Boxes become left, top, width, height; classes become the category ids of the file.
    """
    results = []
    for image in images:
        order = by_score(image.scores)
        boxes, scores, classes = (
            np.asarray(c)[order] for c in (image.boxes, image.scores, image.classes)
        )
        for box, score, k in zip(
            xyxy_to_xywh(boxes).tolist(), scores.tolist(), classes, strict=True
        ):
            number = truth.category_ids[k]
            results.append(
                {"image_id": image.image_id, "category_id": number, "bbox": box, "score": score}
            )
    return results
