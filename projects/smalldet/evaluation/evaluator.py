"""What evaluators of images and of recordings share: collecting, gathering, saying what is odd."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from numpy.typing import NDArray

from boxmetrics.boxes import as_boxes
from boxmetrics.matches import ImageBoxes, Matches
from boxmetrics.tables import Frame
from runfolder.names import MATCHES
from smalldet.evaluation.found_sheet import found_sheet
from smalldet.evaluation.gallery import Picture, write_gallery
from smalldet.evaluation.scores import Scores

logger = logging.getLogger(__name__)


@dataclass
class Collected:
    """What one process has seen since the last reset.

    Attributes:
        frames: Images or labelled times with what was found there, by image id.
        repeated: How many came again, and were not counted again.
        dropped: Broken predictions, see :func:`to_frame`.
    """

    frames: dict[int, Frame] = field(default_factory=dict)
    repeated: int = 0
    dropped: int = 0

    def take(self, frame: Frame, dropped: int = 0) -> None:
        """Keep one frame, from which ``dropped`` predictions are gone; count it if it is here.

        Raises:
            ValueError: another recording or time has the same image id.
        """
        if self._is_known(frame):
            self.repeated += 1
            return
        self.frames[frame.image.image_id] = frame
        self.dropped += dropped

    def add(self, other: Collected) -> None:
        """Take over what another process has seen; the first to see a frame keeps it."""
        self.repeated += other.repeated + sum(map(self._is_known, other.frames.values()))
        self.dropped += other.dropped
        self.frames = {**other.frames, **self.frames}

    def _is_known(self, frame: Frame) -> bool:
        """Refuse two frames under one id: one of them would silently not be scored."""
        known = self.frames.get(frame.image.image_id)
        if known is None:
            return False
        names = [(f.recording, f.timestamp_us) for f in (known, frame)]
        if names[0] != names[1]:
            raise ValueError(
                f"Image id {frame.image.image_id} stands for {names[0]} and for {names[1]} "
                "(recording, microseconds). Each labelled time needs an id of its own."
            )
        return True


SIZE_BINS = {"APs": "small", "APm": "medium", "APl": "large"}
MAIN = ("AP", "AP50", *SIZE_BINS, "AR@100", "num_images", "num_ground_truth", "num_predictions")
MANY = 10  # classes; of more, a line would be too long


class BoxEvaluator(DatasetEvaluator):
    """A Detectron2 evaluator that gathers all processes' predictions and scores them in the first.

    Subclasses hand frames to ``self.collected`` and define ``_score``, ``_classes`` and
    ``_picture``.

    Args:
        split: Named in the log.
        output_dir: Folder of the files that :meth:`evaluate` leaves; empty writes none.
    """

    def __init__(self, split: str, output_dir: str) -> None:
        self.split, self.output_dir = split, output_dir
        self._said: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Forget all predictions."""
        self.collected = Collected()

    def evaluate(self) -> dict[str, Scores]:
        """Scores of all processes' predictions on the first process, ``{}`` on the others."""
        comm.synchronize()
        parts = comm.gather(self.collected, dst=0)
        if not comm.is_main_process():
            return {}
        collected = Collected()
        for part in parts:
            collected.add(part)
        collected.frames = dict(sorted(collected.frames.items()))
        if collected.repeated:
            logger.info("%d images came more than once; counted once.", collected.repeated)
        if collected.dropped:
            logger.warning(
                "Dropped %d predictions with a non-finite score or box, or with a box turned "
                "inside out. Finite weights do not give such; look at the training loss.",
                collected.dropped,
            )
        return self._score(collected)

    def write_gallery(self) -> None:
        """Leave crops of some true objects beside the files of :meth:`evaluate`, if it left any.

        See :mod:`smalldet.evaluation.gallery`.
        """
        if self.output_dir and comm.is_main_process():
            folder = Path(self.output_dir)
            write_gallery(folder, Matches.load(folder / MATCHES), self._picture)

    def found_sheet(self) -> Picture | None:
        """A picture of what :meth:`evaluate` scored, if it left its files; in the first process.

        See :mod:`smalldet.evaluation.found_sheet`.
        """
        if not self.output_dir or not comm.is_main_process():
            return None
        matches = Matches.load(Path(self.output_dir) / MATCHES)
        return found_sheet(matches, self._picture, self._classes())

    def _score(self, collected: Collected) -> dict[str, Scores]:
        raise NotImplementedError

    def _classes(self) -> Sequence[str]:
        raise NotImplementedError

    def _picture(self, image_id: int) -> Picture:
        raise NotImplementedError

    def log_scores(self, scores: Scores, classes: Sequence[str], whose: str) -> None:
        """Log the main scores; all of them stand in the file of the evaluation.

        Args:
            scores: With ``AP-<class>`` for each class.
            classes: Names.
            whose: What they are of, as "valid by coco".
        """
        shown = [f"{key} {score_text(scores[key])}" for key in MAIN if scores.get(key) is not None]
        logger.info("Boxes on %s, in percent: %s.", whose, ", ".join(shown))
        single = [f"{name} {score_text(scores[f'AP-{name}'])}" for name in classes[:MANY]]
        if 1 < len(classes) <= MANY:
            logger.info("AP on %s by class: %s.", whose, ", ".join(single))

    def log_missing(self, scores: Scores, classes: Sequence[str], whose: str) -> None:
        """Log, once, of which classes and sizes there is no ground truth; see :meth:`log_scores`.

        Scores of theirs, also of a class in a size, are null and in no mean.
        """
        missing = [f"class {name!r}" for name in classes if scores[f"AP-{name}"] is None]
        missing += [f"{name} boxes" for key, name in SIZE_BINS.items() if scores[key] is None]
        text = f"{whose} has no ground truth, so scores are null, of: {', '.join(missing)}."
        if scores["num_ground_truth"] and missing and text not in self._said:
            self._said.add(text)
            logger.info(text)

    def warn_of_nothing(self, scores: Scores) -> None:
        """Say what it means if nothing is true, or nothing was predicted."""
        if not scores["num_ground_truth"]:
            logger.warning("The images evaluated hold no ground-truth box: AP and AR are null.")
        elif not scores["num_predictions"]:
            logger.warning(
                "No predictions on %d images of %s, so every score is 0. The usual causes: the "
                "score threshold of the head is above all scores (lower it), the weights were not "
                "loaded (read the load report in the log), or the classes of head and data set do "
                "not correspond (compare their order).",
                scores["num_images"],
                self.split,
            )


def to_frame(
    instances: Instances, truth: dict[str, Any], scale: float = 1, **place: Any
) -> tuple[Frame, int]:
    """The sound predictions of one image with its ground truth, and how many are broken.

    Broken are predictions with a non-finite score or box, or with a box turned inside out.

    Args:
        instances: With ``pred_boxes`` (D, 4) xyxy_abs, ``scores``, ``pred_classes`` and perhaps
            ``class_confidence`` (D,).
        truth: ``image_id`` and the ``gt_`` fields of :class:`boxmetrics.matches.ImageBoxes`.
        scale: From the pixels of ``pred_boxes`` to those of ``truth``.
        place: ``recording`` and ``timestamp_us``, where there are such.
    """
    boxes = as_boxes(to_numpy(instances.pred_boxes.tensor) * scale)
    scores, confidence = to_numpy(instances.scores), None
    sound = np.isfinite(boxes).all(axis=1) & np.isfinite(scores)
    sound &= (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
    if instances.has("class_confidence"):
        confidence = to_numpy(instances.class_confidence)
        sound &= np.isfinite(confidence)
        confidence = confidence[sound]
    classes = to_numpy(instances.pred_classes, torch.int64)
    image = ImageBoxes(boxes=boxes[sound], scores=scores[sound], classes=classes[sound], **truth)
    return Frame(image, class_confidence=confidence, **place), int((~sound).sum())


def to_numpy(values: Any, dtype: torch.dtype = torch.float64) -> NDArray[Any]:
    """A tensor, or what becomes one, as an array of ``dtype``."""
    return torch.as_tensor(values).detach().to("cpu", dtype).numpy()


def check_classes(classes: Any, known: int, what: str, whose: str) -> None:
    """Raise ValueError unless all ``classes`` are in [0, ``known``), as ``whose`` says."""
    numbers = to_numpy(classes, torch.int64)
    if numbers.size and (numbers.min() < 0 or numbers.max() >= known):
        label = numbers.min() if numbers.min() < 0 else numbers.max()
        raise ValueError(
            f"Class {label} {what}, but {whose} has {known} classes, counted from 0. Set the "
            "head's num_classes to the data set's."
        )


def score_text(value: float | None) -> str:
    """A score for the log."""
    return "null" if value is None else str(value) if isinstance(value, int) else f"{value:.2f}"
