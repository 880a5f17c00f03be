"""What a neck is: a backbone that rearranges the features of another backbone."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from detectron2.modeling.backbone import Backbone
from torch import Tensor

from smalldet.backbones.base import FeatureBackbone


class Neck(FeatureBackbone):
    """A backbone around ``bottom_up``; subclasses implement :meth:`fuse` and ``output_shape()``.

    Weights of pretraining are loaded by ``bottom_up.load_pretrained()``. A neck has none of its
    own and does not pass the call on: whoever loads walks the modules and finds ``bottom_up``.

    Attributes:
        needs_every_step: a neck that only combines scales is run where its output is wanted
            (False). One with a memory of its own is run on every step of a sequence (True), and
            its state then is the pair ``(bottom_up_state, neck_state)``.
    """

    needs_every_step = False

    bottom_up: Any  # a Backbone; with step() where a recurrent detector uses the neck

    def __init__(self, bottom_up: Backbone) -> None:
        super().__init__()
        self.bottom_up = bottom_up

    @abstractmethod
    def fuse(self, features: dict[str, Tensor], state: Any = None) -> tuple[dict[str, Tensor], Any]:
        """Turn features of ``bottom_up`` into this neck's features, and give the next state."""

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Fused features of normalised ``images`` (B, 3, H, W)."""
        return self.fuse(self.bottom_up(images))[0]

    def step(self, images: Tensor, state: Any = None) -> tuple[dict[str, Tensor], Any]:
        """One time step of ``bottom_up``, then of the neck. ``None`` starts both anew."""
        if not self.needs_every_step:
            features, state = self.bottom_up.step(images, state)
            return self.fuse(features)[0], state
        bottom_up_state, neck_state = (None, None) if state is None else state
        features, bottom_up_state = self.bottom_up.step(images, bottom_up_state)
        fused, neck_state = self.fuse(features, neck_state)
        return fused, (bottom_up_state, neck_state)

    @property
    def size_divisibility(self) -> int:
        return self.bottom_up.size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        own = {"size_divisibility": self.size_divisibility}
        # Backbones of Detectron2 0.5 have no such property.
        return {**own, **getattr(self.bottom_up, "padding_constraints", {})}
