"""What a recurrent detector is given: chunks of recordings.

A sequence sample is one chunk, as a dict:

    events        (T, C, H, W), counts
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

from collections.abc import Hashable, Sequence
from typing import Any

from torch import Tensor

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
