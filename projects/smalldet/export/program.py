"""A detector as one function of tensors, for ``torch.export`` to follow.

Shape shorthand: A cells over all levels, C classes, (H, W) padded input in px.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eventcam.io.events import Events
from eventcam.representations import RepresentationName, get_representation
from smalldet.backbones.base import FeatureBackbone
from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.backbones.vim.blocks import BidirectionalMixer
from smalldet.backbones.vim.model import VisionMamba
from smalldet.detectors.base import padded_batch
from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.heads.yolox import YOLOXHead
from smalldet.layers.recurrent_state import State

Size = tuple[int, int]


class Program(nn.Module):
    """Normalisation, backbone with neck, and, of a YOLOX head, its layers and decoding.

    Anywhere but in ``torch.export`` it runs as the model does, fast kernels included.

    Args:
        model: a detector with ``backbone``; ours or Detectron2's.
        representation: of the events that a recurrent one sees.

    Attributes:
        dtype: in which the detector gets its input elsewhere; graphs take float32.

    Raises:
        ValueError: a model without ``backbone``.
    """

    backbone: Any
    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, representation: RepresentationName = "histogram") -> None:
        super().__init__()
        backbone, head = getattr(model, "backbone", None), getattr(model, "head", None)
        if not isinstance(backbone, nn.Module):
            raise ValueError(
                f"{type(model).__name__} has no backbone, so nothing of it can become a graph. "
                "Its weights can: --format weights."
            )
        self.backbone = backbone
        self.head = head if isinstance(head, YOLOXHead) else None
        self.recurrent = isinstance(model, RecurrentDetector)
        seen = torch.zeros(3, 1, 1)
        if self.recurrent:
            seen = torch.from_numpy(get_representation(representation)(1, 1)(Events.empty()))
        self.dtype, one = seen.dtype, torch.ones(seen.shape)
        self.register_buffer("mean", getattr(model, "pixel_mean", 0 * one).clone())
        self.register_buffer("std", getattr(model, "pixel_std", one).clone())
        self.skeleton: State = None  # of the state: indices of its tensors in their nest

    def forward(self, images: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """One time step, or one image.

        Args:
            images: (1, channels, H, W) pixels of 0 to 255 or events, padded.
            state: tensors of the state, in the order of :meth:`outputs`; none starts anew.

        Returns:
            The predictions (1, A, 5 + C), or the levels of the backbone; then the next state.
        """
        if not self.recurrent:
            return self._outputs(self.backbone((images - self.mean) / self.std))
        before = _filled(self.skeleton, state) if state else None
        features, after = self.backbone.step(images, before)
        return *self._outputs(features), *_tensors(after)

    def _outputs(self, features: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(features.values()) if self.head is None else (self.head.decode(features),)

    def start(self, size: Size) -> dict[str, Tensor]:
        """A state of zeros by name, for an input of ``size``; runs the model once to see it."""
        if not self.recurrent:
            return {}
        with torch.inference_mode():
            _, state = self.backbone.step(self.blank(size), None)
        named = dict(_named(state, "state"))
        self.skeleton = _numbered(state, iter(range(len(named))))
        return {name: torch.zeros(*x.shape, dtype=x.dtype) for name, x in named.items()}

    def output_names(self) -> list[str]:
        """Of what comes before the state."""
        return list(self.backbone.output_shape()) if self.head is None else ["predictions"]

    def blank(self, size: Size) -> Tensor:
        """An empty input."""
        return torch.zeros(1, len(self.mean), *size)

    def padded_size(self, size: Size) -> Size:
        """Height and width, px, that the model pads an input of ``size`` to."""
        shape = padded_batch([self.blank(size)[0]], self.backbone).tensor.shape
        return shape[-2], shape[-1]

    @property
    def multiple(self) -> int:
        """What sides must be a multiple of, px."""
        constraints = getattr(self.backbone, "padding_constraints", {})
        return max(constraints.get("size_divisibility", self.backbone.size_divisibility), 1)


def traceable(program: Program) -> Program:
    """A copy that ``torch.export`` can follow: nothing frozen, cached, recomputed or chosen."""
    twin = deepcopy(program).cpu().float().eval().requires_grad_(False)
    for module in twin.modules():
        if isinstance(module, FeatureBackbone):
            module.frozen, module.cache = False, None
        if isinstance(module, BidirectionalMixer):
            module.scan_backend = "auto"
        if getattr(module, "checkpoint", False) is True:
            module.checkpoint = False  # type: ignore[assignment]
    return twin


def why_fixed(program: Program) -> str:
    """The sentence that says why a graph takes one size only; "" if it may take others."""
    for module in program.modules():
        if isinstance(module, VisionMamba):
            return "Vision Mamba has an embedding for each patch of images of one size."
        if isinstance(module, MaxViTRNN):
            return "The windows of its attention grow with the input, so each size is a graph."
    return "Its state has the size of the input." if program.recurrent else ""


@dataclass(frozen=True)
class Plan:
    """What is exported.

    Attributes:
        program: of the model.
        size: height and width of the padded input, px.
        state: zeros by name.
        fixed: why other sizes are refused; "" if they are not.
    """

    program: Program
    size: Size
    state: dict[str, Tensor]
    fixed: str


def plan_of(program: Program, size: Size) -> Plan:
    """What is exported for inputs of ``size`` (before padding).

    Raises:
        ValueError: the model does not run on that size.
    """
    padded = program.padded_size(size)
    try:
        state = program.start(padded)
        with torch.inference_mode():
            program(program.blank(padded), *state.values())
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"The model does not run on {size[0]}x{size[1]} px: {reason}") from error
    return Plan(program, padded, state, why_fixed(program))


def _tensors(state: State) -> list[Tensor]:
    return [x for _, x in _named(state, "")]


def _named(state: State, name: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a nested state, named by their places: ``state_0_1``."""
    if isinstance(state, Tensor):
        yield name, state
    elif state is not None:
        for number, part in enumerate(state):
            yield from _named(part, f"{name}_{number}")


def _numbered(state: State, numbers: Iterator[int]) -> Any:
    """The nest with a number in the place of each tensor."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return next(numbers)
    return tuple(_numbered(part, numbers) for part in state)


def _filled(skeleton: Any, tensors: Sequence[Tensor]) -> State:
    """The inverse of :func:`_numbered`."""
    if skeleton is None:
        return None
    if isinstance(skeleton, int):
        return tensors[skeleton]
    return tuple(_filled(part, tensors) for part in skeleton)
