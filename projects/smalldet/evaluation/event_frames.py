"""What an evaluator of event recordings takes in: labelled times with their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from detectron2.structures import Instances
from numpy.typing import NDArray

from boxmetrics.boxes import as_boxes, box_area
from boxmetrics.matches import ImageBoxes
from boxmetrics.tables import BoxTable, Frame
from smalldet.evaluation.coco import Collected, farthest_class, to_predictions
from smalldet.evaluation.outputs import Predictions

Size = tuple[int, int]  # height, width


class PreparedRecording(Protocol):
    """What is asked of a recording of the data set."""

    name: str
    num_steps: int
    shape: tuple[int, int, int]  # channels, height, width of the network's input
    downsample: str  # "none": at the resolution of the sensor; anything else: at half of it

    def close(self) -> None: ...


@dataclass(frozen=True)
class FrameTruth:
    """A labelled time and its boxes, ``xyxy_abs`` in pixels of the sensor."""

    image_id: int
    recording: str
    timestamp_us: int
    boxes: NDArray[np.float64]  # (G, 4)
    classes: NDArray[np.int64]  # (G,)
    input_size: Size
    sensor_size: Size

    def name(self) -> tuple[str, int]:
        """What an image id must stand for."""
        return self.recording, self.timestamp_us


@dataclass(frozen=True)
class FramePredictions(Predictions):
    """Predictions of one labelled time, in pixels of the sensor.

    ``class_confidence`` (D,): confidence in the class alone; None where the detector gives none.
    """

    class_confidence: NDArray[np.float64] | None = None

    def select(self, rows: NDArray[Any]) -> FramePredictions:
        """The predictions at ``rows`` (a mask or indices)."""
        confidence = None if self.class_confidence is None else self.class_confidence[rows]
        return FramePredictions(self.boxes[rows], self.scores[rows], self.classes[rows], confidence)

    def is_valid(self) -> NDArray[np.bool_]:
        """Which predictions (D,) have finite scores and a finite box with right >= left."""
        valid = super().is_valid()
        return (
            valid if self.class_confidence is None else valid & np.isfinite(self.class_confidence)
        )


@dataclass
class CollectedFrames(Collected):
    """What one process has seen since the last reset, with the ground truth."""

    truth: dict[int, FrameTruth] = field(default_factory=dict)

    def take(self, truth: FrameTruth, found: FramePredictions) -> None:
        """Keep one frame, without broken predictions; count it if it is here already."""
        self._check_same(truth)
        if truth.image_id in self.truth:
            self.repeated_images += 1
            return
        kept = found.select(found.is_valid())
        self.dropped += len(found) - len(kept)
        self.predictions[truth.image_id] = kept
        self.truth[truth.image_id] = truth

    def add(self, other: Collected) -> None:
        """Take over what another process has seen; the first to see a frame keeps it."""
        super().add(other)
        if isinstance(other, CollectedFrames):
            for truth in other.truth.values():
                self._check_same(truth)
                self.truth.setdefault(truth.image_id, truth)

    def table(self) -> BoxTable:
        """All frames in the order of their ids."""
        return BoxTable.of_frames(self._frame(image_id) for image_id in sorted(self.truth))

    def has_class_confidence(self) -> bool:
        """Whether the detector told its confidence in the class apart from the score."""
        found = self.predictions.values()
        return any(getattr(p, "class_confidence", None) is not None for p in found)

    def _frame(self, image_id: int) -> Frame:
        truth, found = self.truth[image_id], self.predictions[image_id]
        image = ImageBoxes(
            image_id=image_id,
            boxes=found.boxes,
            scores=found.scores,
            classes=found.classes,
            gt_boxes=truth.boxes,
            gt_classes=truth.classes,
            gt_areas=box_area(truth.boxes),
            gt_crowd=np.zeros(len(truth.classes), bool),
        )
        confidence = getattr(found, "class_confidence", None)
        return Frame(image, truth.recording, truth.timestamp_us, confidence)

    def _check_same(self, truth: FrameTruth) -> None:
        """Refuse two frames under one id: one of them would silently not be scored."""
        known = self.truth.get(truth.image_id, truth)
        if known.name() != truth.name():
            raise ValueError(
                f"Image id {truth.image_id} stands for {known.name()} and for {truth.name()} "
                "(recording, microseconds). Each labelled time needs an id of its own."
            )


class FrameReader:
    """Reads labelled times, looking up in the data set what the inputs do not say."""

    def __init__(self, recordings: Sequence[PreparedRecording], classes: Sequence[str]) -> None:
        """Remember names and sizes.

        Args:
            recordings: Of the split, in the order in which image ids count their steps.
            classes: Names; the position is the class number.
        """
        self.classes = tuple(classes)
        self._names = [recording.name for recording in recordings]
        self._ends = np.cumsum([recording.num_steps for recording in recordings])
        self._factors = [1 if recording.downsample == "none" else 2 for recording in recordings]
        for recording in recordings:
            recording.close()

    def truth(self, frame: dict[str, Any]) -> FrameTruth:
        """Ground truth of a frame, see :func:`paired`, in pixels of the sensor.

        Raises:
            ValueError: something is missing or does not fit.
        """
        image_id, input_size = int(frame["image_id"]), (int(frame["height"]), int(frame["width"]))
        name, sensor_size = self._place(image_id, input_size)
        boxes = as_boxes(torch.as_tensor(frame["boxes"]).to("cpu", torch.float64).numpy())
        classes = torch.as_tensor(frame["classes"]).to("cpu", torch.int64).reshape(-1)
        if len(boxes) != len(classes):
            raise ValueError(
                f"Image {image_id} has {len(boxes)} true boxes but {len(classes)} classes; one "
                "each is expected."
            )
        self._check_classes(classes, f"is true in image {image_id}")
        return FrameTruth(
            image_id,
            name,
            int(frame["timestamp_us"]),
            boxes * _scale(input_size, sensor_size),
            classes.numpy(),
            input_size,
            sensor_size,
        )

    def predictions(self, instances: Instances, truth: FrameTruth) -> FramePredictions:
        """Predictions in pixels of the sensor; they come in those, or in the network input's.

        Raises:
            ValueError: a class without a name, or boxes in another frame.
        """
        size = (int(instances.image_size[0]), int(instances.image_size[1]))
        if size not in (truth.input_size, truth.sensor_size):
            raise ValueError(
                f"The boxes of image {truth.image_id} refer to {size} pixels (height, width); "
                f"expected is the network's input, {truth.input_size} without padding, or the "
                f"sensor, {truth.sensor_size}."
            )
        self._check_classes(instances.pred_classes, f"was predicted in image {truth.image_id}")
        found = to_predictions(instances)
        confidence = None
        if instances.has("class_confidence"):
            confidence = instances.class_confidence.detach().to("cpu", torch.float64).numpy()
        boxes = found.boxes * _scale(size, truth.sensor_size)
        return FramePredictions(boxes, found.scores, found.classes, confidence)

    def _place(self, image_id: int, input_size: Size) -> tuple[str, Size]:
        """The recording of an image and the size of its sensor."""
        row = int(np.searchsorted(self._ends, image_id, side="right"))
        if image_id < 0 or row == len(self._names):
            raise ValueError(
                f"Image id {image_id} is not among the {max(self._ends, default=0)} steps of the "
                f"{len(self._names)} recordings of the split. Evaluate a split with its own loader."
            )
        factor = self._factors[row]
        return self._names[row], (factor * input_size[0], factor * input_size[1])

    def _check_classes(self, classes: torch.Tensor, what: str) -> None:
        known = len(self.classes)
        if classes.numel() and not 0 <= (label := farthest_class(classes)) < known:
            raise ValueError(
                f"Class {label} {what}, but the class map has {known} classes, counted from 0. Set "
                "the head's num_classes and the prepared data to one class map."
            )


def paired(
    inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], Instances]]:
    """Each labelled frame with its predictions.

    Args:
        inputs: Sequence samples (``image_ids``, ``timestamps_us``, ``boxes`` and ``classes`` with
            one entry a step, boxes None where unlabelled, ``events`` (T, C, H, W)); or frames:
            ``image_id``, ``timestamp_us``, ``boxes`` (G, 4) xyxy_abs and ``classes`` (G,), G = 0
            for a time known to be empty, ``height`` and ``width`` of the network's input
            without padding, in whose pixels the boxes are.
        outputs: One dict with ``instances`` for each labelled frame. For sequence samples, with
            the ``sample`` and ``step`` that it belongs to; for frames, in their order.

    Raises:
        ValueError: outputs are missing or left over, or an input has no ground truth.
    """
    if not any("image_ids" in item for item in inputs):
        frames = {(index, 0): frame for index, frame in enumerate(inputs)}
        given = {(index, 0): output["instances"] for index, output in enumerate(outputs)}
    else:
        frames = dict(step for b, item in enumerate(inputs) for step in _steps(b, item))
        given = {(int(o["sample"]), int(o["step"])): o["instances"] for o in outputs}
    if frames.keys() != given.keys() or len(given) != len(outputs):
        raise ValueError(
            f"{len(outputs)} outputs were given for {len(frames)} labelled frames of {len(inputs)} "
            "inputs, or for other frames; one each is expected, also for frames without boxes."
        )
    for frame in frames.values():
        _check_keys(frame)
    return [(frame, given[key]) for key, frame in frames.items()]


def _steps(index: int, sample: dict[str, Any]) -> list[tuple[tuple[int, int], dict[str, Any]]]:
    """The labelled steps of a sequence sample as frames, by (sample, step)."""
    if "boxes" not in sample:
        raise ValueError(
            f"A sequence sample has no boxes; it has {sorted(sample)}. Evaluation needs the "
            "labels: use the loader of a labelled split."
        )
    height, width = sample["events"].shape[-2:]
    return [
        (
            (index, step),
            {
                "image_id": sample["image_ids"][step],
                "timestamp_us": sample["timestamps_us"][step],
                "boxes": boxes,
                "classes": sample["classes"][step],
                "height": height,
                "width": width,
            },
        )
        for step, boxes in enumerate(sample["boxes"])
        if boxes is not None
    ]


def _check_keys(frame: dict[str, Any]) -> None:
    wanted = ("image_id", "timestamp_us", "boxes", "classes", "height", "width")
    missing = [key for key in wanted if key not in frame]
    if missing:
        raise ValueError(
            f"An evaluation input has no {', '.join(missing)}; it has {sorted(frame)}. Each "
            "labelled time needs its id and time, its boxes and the size of the network's input."
        )


def _scale(size: Size, target: Size) -> NDArray[np.float64]:
    """Factors of left, top, right, bottom from a frame of ``size`` to one of ``target``."""
    return np.array([target[1] / size[1], target[0] / size[0]] * 2)
