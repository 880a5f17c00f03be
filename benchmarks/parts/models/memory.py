"""Memory of the OFAT baseline in training at 640x640, from what autograd keeps for backward.

Micro-batches that fit a card are estimates: parameters, gradients and AdamW's two averages in
fp32, what is kept a micro-batch, and a margin (``CONTEXT_GB`` and ``SHARE``) for what is not seen
here. ``lab.py plan --measure`` runs real steps instead and says what they took on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from detectron2.utils.events import EventStorage
from torch import nn

from benchmarks.measure import Row
from benchmarks.ofat import BASELINE, SIZE, build, picture
from benchmarks.saved import Saved, memory_row

TRAINED = "model.backbone.bottom_up.frozen=false"
CHECKPOINTS = "model.backbone.checkpoint=true"
PARTS = re.compile(r".*(simfp_\d|box_head\.\d)")  # what checkpoints recompute, one at a time
TENSORS_OF_TRAINED = 4  # a weight, its gradient, AdamW's two averages
CARDS_GB = (8, 24, 80)
CONTEXT_GB, SHARE = 1.0, 0.10  # CUDA itself; share of a card for temporaries and fragmentation


class Need(NamedTuple):
    """MB, each of a micro-batch of one image and of two."""

    kept: tuple[float, float]  # for the backward pass
    largest: tuple[float, float]  # of that, by the part that keeps most
    state: float  # parameters, gradients and optimizer


def rows() -> Iterator[Row]:
    """MB an image: ViM trained against frozen as we run it, then without and with checkpoints."""
    trained, plain, lean = (an_image(need(x).kept) for x in (TRAINED, "", CHECKPOINTS))
    yield memory_row("Cascade R-CNN, ViM trained / frozen, MB", trained, plain, 1.0)
    yield memory_row("without / with checkpoints, MB", plain, lean, 2.0)


def notes(_: Sequence[Row]) -> Iterator[str]:
    """What fits a card."""
    plain, lean = need(""), need(CHECKPOINTS)
    # What a checkpoint leaves out is there again while its part is recomputed: one at a time.
    peak = tuple(a + b for a, b in zip(lean.kept, plain.largest, strict=True))
    for name, peaks in (("without checkpoints", plain.kept), ("with checkpoints", peak)):
        sizes = [f"{fitting(peaks, plain.state, gb)} on {gb} GB" for gb in CARDS_GB]
        yield (
            f"Cascade R-CNN {name}, fp32: {plain.state:.0f} MB of weights, gradients and AdamW, "
            f"{an_image(peaks):.0f} MB an image; largest micro-batch, ESTIMATED from saved bytes "
            f"with {CONTEXT_GB:g} GB and {SHARE:.0%} of the card to spare: {', '.join(sizes)}."
        )


def an_image(sizes: tuple[float, ...]) -> float:
    """The part of it that grows with the micro-batch, from those of 1 and 2 images."""
    return sizes[1] - sizes[0]


def fitting(peaks: tuple[float, ...], state: float, card_gb: float) -> int:
    """The largest micro-batch on a card; 0 if none.

    Args:
        peaks: MB of a micro-batch of one image and of two.
        state: MB of what does not depend on it.
        card_gb: memory of the card.
    """
    left = 1e3 * (card_gb * (1 - SHARE) - CONTEXT_GB) - state
    return max(0, int(1 + (left - peaks[0]) // an_image(peaks)))


@cache
def need(override: str) -> Need:
    """Of the baseline with one override ("" without)."""
    model = build(BASELINE, "train.device=cpu", *([override] if override else [])).model.train()
    one, two = (kept_mb(model, images) for images in (1, 2))
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    frozen = sum(p.nbytes for p in model.parameters() if not p.requires_grad)
    return Need((one[0], two[0]), (one[1], two[1]), (TENSORS_OF_TRAINED * trained + frozen) / 1e6)


def kept_mb(model: nn.Module, images: int) -> tuple[float, float]:
    """MB that a forward pass of ``images`` images keeps, and those of the part that keeps most."""
    saved = Saved(model.parameters())
    parts: list[float] = []

    def enter(*_: Any) -> None:
        parts.append(-saved.mb)

    def leave(*_: Any) -> None:
        parts[-1] += saved.mb

    hooks = []
    for name, part in model.named_modules():
        if PARTS.fullmatch(name):
            hooks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    batch = [picture(SIZE, seed) for seed in range(images)]
    with EventStorage(), saved:
        losses = model(batch)
    for hook in hooks:
        hook.remove()
    assert all(loss.isfinite() for loss in losses.values())  # and so the graph has lived until here
    return saved.mb, max(parts)
