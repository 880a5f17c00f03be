"""From the labels of chunks of recordings to what a head takes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage
from detectron2.utils.logger import log_every_n_seconds

from smalldet.detectors.recurrent_samples import Sample, frame_size

REPORT_SECONDS = 60


class Frame(NamedTuple):
    """One time step of one sample of a batch."""

    sample: int
    step: int


def is_wanted(sample: Sample, step: int) -> bool:
    """Whether the head looks at this step: a labelled one, or any of a sample without labels."""
    return "boxes" not in sample or sample["boxes"][step] is not None


@dataclass
class BoxTally:
    """How many boxes of the labels of one call were seen, cut at the border, or left out.

    Attributes:
        seen: all.
        clipped: those that reached out of the frame.
        dropped: those of no area inside the frame, or not finite.
    """

    seen: int = 0
    clipped: int = 0
    dropped: int = 0

    def targets(self, sample: Sample, step: int) -> Instances:
        """``gt_boxes`` inside the frame and ``gt_classes`` of a labelled step."""
        given = torch.as_tensor(sample["boxes"][step]).reshape(-1, 4).float()
        height, width = frame_size(sample)
        boxes = torch.minimum(given.clamp(min=0), given.new_tensor([width, height] * 2))
        kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1) & given.isfinite().all(dim=1)
        self.seen += len(given)
        self.clipped += int((boxes != given).any(dim=1)[kept].sum())
        self.dropped += len(given) - int(kept.sum())
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(boxes[kept])
        instances.gt_classes = torch.as_tensor(sample["classes"][step]).long()[kept]
        return instances

    def report(self) -> None:
        """Warn of boxes left out, and log the counts to Detectron2's EventStorage, if one is open.

        Names are ``data/boxes_clipped`` and ``data/boxes_dropped``.
        """
        if self.dropped:
            message = (
                f"{self.dropped} of {self.seen} boxes of a batch have no area inside the frame and "
                f"are left out; {self.clipped} were cut at its border."
            )
            log_every_n_seconds(logging.WARNING, message, n=REPORT_SECONDS)
        try:
            storage = get_event_storage()
        except AssertionError:  # how Detectron2 says that none is
            return
        storage.put_scalar("data/boxes_clipped", self.clipped, smoothing_hint=False)
        storage.put_scalar("data/boxes_dropped", self.dropped, smoothing_hint=False)


def no_targets(image_size: tuple[int, int]) -> Instances:
    """A labelled frame without objects."""
    instances = Instances(image_size)
    instances.gt_boxes = Boxes(torch.zeros(0, 4))
    instances.gt_classes = torch.zeros(0, dtype=torch.long)
    return instances
