"""Labelled steps of event recordings: which detections are theirs, and where they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from detectron2.structures import Instances
from numpy.typing import NDArray

_NEEDED = ("image_ids", "timestamps_us", "boxes", "classes", "events")


class PreparedRecording(Protocol):
    """What is asked of a recording of the data set."""

    name: str
    num_steps: int
    downsample: str  # "none": at the resolution of the sensor; anything else: at half of it
    left_out: Counter[str]  # boxes that are not in its labels, by reason

    def events(self, start: int, stop: int) -> NDArray[np.generic]: ...

    def close(self) -> None: ...


class Steps:
    """Where the steps of all recordings of a split are; image ids count them, in this order."""

    def __init__(self, recordings: Sequence[PreparedRecording]) -> None:
        self.recordings = recordings
        self._starts = np.cumsum([0, *(recording.num_steps for recording in recordings)])
        for recording in recordings:
            recording.close()

    def find(self, image_id: int) -> tuple[PreparedRecording, int]:
        """The recording of an image and its step there.

        Raises:
            ValueError: there is no such step.
        """
        if not 0 <= image_id < self._starts[-1]:
            raise ValueError(
                f"Image id {image_id} is not among the {self._starts[-1]} steps of the "
                f"{len(self.recordings)} recordings of the split. Evaluate a split with its own "
                "loader."
            )
        row = int(np.searchsorted(self._starts, image_id, side="right")) - 1
        return self.recordings[row], image_id - int(self._starts[row])


def sensor_pixels(recording: PreparedRecording) -> int:
    """Pixels of the sensor, in each direction, for one of the network's input."""
    return 1 if recording.downsample == "none" else 2


def labelled_steps(
    samples: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], int, Instances]]:
    """Each labelled step, as its sample and its place in it, with what was found there.

    Args:
        samples: Sequence samples: ``image_ids``, ``timestamps_us``, ``boxes`` and ``classes`` with
            one entry a step, boxes None where unlabelled, ``events`` (T, C, H, W).
        outputs: One dict with ``instances`` for each labelled step, with the ``sample`` and
            ``step`` that it belongs to.

    Raises:
        ValueError: outputs are missing or left over, or an input has no ground truth.
    """
    missing = [key for sample in samples for key in _NEEDED if key not in sample]
    if missing:
        raise ValueError(
            f"A sequence sample has no {', '.join(dict.fromkeys(missing))}. Evaluation needs the "
            "labels: use the loader of a labelled split."
        )
    wanted = [
        (index, step)
        for index, sample in enumerate(samples)
        for step, boxes in enumerate(sample["boxes"])
        if boxes is not None
    ]
    if sorted((int(o["sample"]), int(o["step"])) for o in outputs) != wanted:
        raise ValueError(
            f"{len(outputs)} outputs were given for {len(wanted)} labelled frames of "
            f"{len(samples)} inputs, or for other frames; one each is expected, also for frames "
            "without boxes."
        )
    return [(samples[int(o["sample"])], int(o["step"]), o["instances"]) for o in outputs]
