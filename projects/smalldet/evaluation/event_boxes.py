"""Box evaluation of event recordings by several named protocols at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from boxmetrics.matches import Matches
from boxmetrics.protocols import COCO, Result, evaluate, get_protocol
from boxmetrics.tables import BoxTable
from runfolder.names import MATCHES
from smalldet.data.catalog import records_of
from smalldet.evaluation.coco import NO_PREDICTIONS, score_text
from smalldet.evaluation.event_frames import (
    CollectedFrames,
    FrameReader,
    paired,
)
from smalldet.evaluation.event_outputs import write_event_outputs
from smalldet.evaluation.event_pictures import step_picture
from smalldet.evaluation.gallery import write_gallery
from smalldet.evaluation.scores import Scores

logger = logging.getLogger(__name__)


class EventBoxEvaluator(DatasetEvaluator):
    """Average precision and recall of boxes on one split of event recordings, in percent.

    Each labelled time is an image, also one that is known to be empty. Only what is given to
    :meth:`process` is evaluated. Several processes each see a part; the first one gathers and
    scores the union.

    With ``output_dir`` it leaves three files there: ``predictions.json`` (COCO's results format,
    pixels of the sensor, with the confidence in the class beside the score), ``matches.npz``
    (:class:`boxmetrics.matches.Matches`, with recording and time of each image; also to be read
    by :class:`boxmetrics.tables.BoxTable`), and ``evaluation.json`` (each protocol: its rules and
    version, what it dropped, its scores).
    """

    def __init__(
        self,
        dataset: str,
        output_dir: str = "",
        protocols: Sequence[str] = ("prophesee", "etram_published"),
    ) -> None:
        """Look up the recordings.

        Args:
            dataset: Registered name of the recordings, as ``etram_nearest_val``; with them are
                registered the ``split`` and its ``class_map`` (``name``; ``classes``, by class
                number; ``small``, the numbers whose mean AP is reported). Image ids count the steps
                of all recordings, in their order.
            output_dir: Folder of the files above; empty writes none.
            protocols: Names from :data:`boxmetrics.protocols.PROTOCOLS`, scored beside ``coco``.

        Raises:
            ValueError: no protocol or no data set has that name.
        """
        self._recordings: list[Any] = records_of(dataset)
        metadata = MetadataCatalog.get(dataset)
        self.class_map, self.split = metadata.class_map, metadata.split
        self.output_dir = output_dir
        self.protocols = [get_protocol(name) for name in protocols if name != COCO.name]
        self._reader = FrameReader(self._recordings, self.class_map.classes)
        self.reset()

    def reset(self) -> None:
        """Forget all predictions."""
        self._collected = CollectedFrames()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Take the predictions of some labelled times; one seen before is not counted again.

        Args:
            inputs: Sequence samples or frames, see
                :func:`smalldet.evaluation.event_frames.paired`.
            outputs: For each labelled frame ``{"instances": Instances}`` with ``pred_boxes``
                (xyxy_abs, pixels of the network's input or of the sensor, as ``image_size`` says;
                they may reach out of the frame and are not cut), ``scores``, ``pred_classes`` and,
                where the score holds an objectness too, ``class_confidence``. Predictions with a
                non-finite score or box, or with a box turned inside out, are dropped and counted.

        Raises:
            ValueError: a frame that would be scored wrongly; the text says why.
        """
        for frame, instances in paired(inputs, outputs):
            truth = self._reader.truth(frame)
            self._collected.take(truth, self._reader.predictions(instances, truth))

    def evaluate(self) -> dict[str, Scores]:
        """Scores of all processes' predictions on the first process, ``{}`` on the others.

        Returns:
            ``{"bbox": scores, "<protocol>": scores, ...}``: under ``bbox`` those of ``coco``. Keys
            are those of :class:`boxmetrics.protocols.Result`, and under ``bbox`` ``num_dropped``
            (broken predictions), under the others ``dropped_images``, ``dropped_ground_truth``
            and ``dropped_predictions`` (left out by the protocol). None stands where there is no
            ground truth.
        """
        comm.synchronize()
        parts = comm.gather(self._collected, dst=0)
        if not comm.is_main_process():
            return {}
        collected = CollectedFrames()
        for part in parts:
            collected.add(part)
        table = collected.table()
        results = [
            evaluate(protocol, table, self.class_map.classes, self.class_map.small)
            for protocol in (COCO, *self.protocols)
        ]
        self._report(results, collected)
        coco, *others = results
        scores = {"bbox": coco.scores | {"num_dropped": collected.dropped}}
        scores |= {r.protocol.name: r.scores | _dropped_counts(r) for r in others}
        if self.output_dir:
            self._write(table, results, collected)
        return scores

    def write_gallery(self) -> None:
        """Leave crops of some true objects beside the files of :meth:`evaluate`, if it left any.

        See :mod:`smalldet.evaluation.gallery`.
        """
        if not self.output_dir or not comm.is_main_process():
            return
        folder = Path(self.output_dir)
        matches = Matches.load(folder / MATCHES)
        write_gallery(folder, matches, partial(step_picture, self._recordings))

    def _write(self, table: BoxTable, results: Sequence[Result], seen: CollectedFrames) -> None:
        """Leave the files."""
        facts = {
            "split": self.split,
            "class_map": self.class_map.name,
            "classes": list(self.class_map.classes),
            "small_classes": [self.class_map.classes[k] for k in self.class_map.small],
            "num_dropped": seen.dropped,
            "class_confidence": "own" if seen.has_class_confidence() else "equal to the score",
        }
        write_event_outputs(Path(self.output_dir), table, results, facts)

    def _report(self, results: Sequence[Result], collected: CollectedFrames) -> None:
        """Log the scores and everything that a reader of them should know."""
        if collected.repeated_images:
            logger.info("%d frames came more than once; counted once.", collected.repeated_images)
        if collected.dropped:
            logger.warning(
                "Dropped %d predictions with a non-finite score or box, or with a box turned "
                "inside out. Finite weights do not give such; look at the training loss.",
                collected.dropped,
            )
        if not results[0].scores["num_ground_truth"]:
            logger.warning("The frames evaluated hold no ground-truth box: AP and AR are null.")
        elif not results[0].scores["num_predictions"]:
            logger.warning(NO_PREDICTIONS, len(collected.predictions), self.split)
        for result in results:
            name = result.protocol.name
            columns = [f"{key} {score_text(value)}" for key, value in result.scores.items()]
            logger.info("Boxes on %s by %s, in percent: %s", self.split, name, ", ".join(columns))
            logger.info("Dropped by %s: %s.", name, result.dropped)
            if result.undefined:
                missing = ", ".join(result.undefined)
                logger.info("No ground truth, so null and left out of means: %s.", missing)


def _dropped_counts(result: Result) -> Scores:
    """How much a protocol left out, whatever the reason."""
    dropped = result.dropped
    return {
        "dropped_images": sum(dropped.images.values()),
        "dropped_ground_truth": sum(dropped.ground_truth.values()),
        "dropped_predictions": sum(dropped.predictions.values()),
    }
