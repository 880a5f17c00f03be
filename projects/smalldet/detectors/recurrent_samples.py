"""What a recurrent detector is given, chunks of recordings, and the targets of its head in them.

A sequence sample is one chunk, as a dict:

    events        (T, C, H, W), counts (uint8) or signed (float16)
    boxes         T entries: None (not labelled) or (n, 4), xyxy_abs, pixels of the network input
                  before padding; (0, 4) is labelled and empty
    classes       T entries: None or (n,)
    is_first      whether the recording starts with this chunk
    stream        number of the parallel stream that the chunk continues, in which recordings
                  follow one another
    image_ids, timestamps_us     T entries, which evaluators read
    padded (optional)            (T,), true for steps after the end of the recording

T may differ from sample to sample, (C, H, W) may not.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage
from detectron2.utils.logger import log_every_n_seconds
from torch import Tensor

REPORT_SECONDS = 60

Sample = dict[str, Any]


def check_samples(samples: Sequence[Sample]) -> None:
    """Raise ValueError where a batch is none."""
    shapes = {tuple(sample["events"].shape[1:]) for sample in samples}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise ValueError(
            f"The events of a batch are (steps, channels, height, width) with the sizes "
            f"{sorted(shapes)} behind the first; expected one (channels, height, width) for all. "
            "Recordings of different cameras need batches of their own."
        )
    for sample in samples:
        counts = {len(sample[key]) for key in ("events", "boxes", "classes") if key in sample}
        if len(counts) != 1 or 0 in counts:
            raise ValueError(
                f"The sample of stream {sample['stream']!r} has {sorted(counts)} entries in its "
                "events, boxes and classes; expected one a step in each, and at least one step."
            )
    streams = [stream_of(sample) for sample in samples]
    if len(set(streams)) < len(streams):
        raise ValueError(
            f"A batch holds several chunks of one stream: {streams}. Those belong into "
            "successive batches; random access has a stream for each place in the batch."
        )
    if not any(num_steps(sample) for sample in samples):
        raise ValueError(
            f"All steps of the chunks of the streams {streams} are padded. A loader ends when its "
            "last recording has."
        )


def stream_of(sample: Sample) -> Hashable:
    """The stream as a plain value."""
    stream = sample["stream"]
    return stream.item() if isinstance(stream, Tensor) else stream


def num_steps(sample: Sample) -> int:
    """Steps before the padding."""
    steps = len(sample["events"])
    return steps - int(sample["padded"].sum()) if "padded" in sample else steps


def frame_size(sample: Sample) -> tuple[int, int]:
    """Height and width of the frames, px, before padding."""
    height, width = sample["events"].shape[-2:]
    return height, width


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
