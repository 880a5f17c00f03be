"""What a head is, and where heads are found by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

from detectron2.layers import ShapeSpec
from detectron2.structures import Instances
from detectron2.utils.registry import Registry
from torch import Tensor, nn

HEAD_REGISTRY = Registry("HEAD")


class Head(nn.Module, ABC):
    """Finds objects on the features of any backbone.

    It is made in two steps, since a config describes it before there is a backbone: the
    constructor takes settings alone, :meth:`build` adds the layers.

    Attributes:
        num_classes: foreground classes.
    """

    num_classes: int

    @abstractmethod
    def build(self, input_shape: Mapping[str, ShapeSpec]) -> Self:
        """Add the layers for a backbone's ``output_shape()``, and return the head.

        Raises:
            ValueError: the levels and the settings do not fit.
        """

    @abstractmethod
    def losses(
        self, features: Mapping[str, Tensor], instances: Sequence[Instances]
    ) -> dict[str, Tensor]:
        """Losses by name, scalars.

        Args:
            features: (B, C, H / stride, W / stride) by level name.
            instances: B images with ``gt_boxes`` (xyxy_abs, px of the network's input) and
                ``gt_classes``; none in an image is fine.
        """

    @abstractmethod
    def predict(
        self, features: Mapping[str, Tensor], image_sizes: Sequence[tuple[int, int]]
    ) -> list[Instances]:
        """Detections of B images: ``pred_boxes`` (xyxy_abs), ``scores``, ``pred_classes``.

        Args:
            features: as in :meth:`losses`.
            image_sizes: (height, width) of each image without its padding, px.

        Raises:
            RuntimeError: the head is in training mode.
        """

    def require_eval(self) -> None:
        """Raise RuntimeError in training mode."""
        if self.training:
            raise RuntimeError("predict() was called in training mode. Call eval() first.")


def select_levels(
    input_shape: Mapping[str, ShapeSpec], names: Sequence[str] | None, setting: str
) -> dict[str, ShapeSpec]:
    """Those of ``input_shape`` with these names (None: all), finest first.

    Args:
        input_shape: channels and stride by level name.
        names: of the wanted levels.
        setting: what holds the names, for the message.

    Raises:
        ValueError: a name that there is not, or none at all.
    """
    names = list(input_shape if names is None else names)
    if not names or not set(names) <= set(input_shape):
        raise ValueError(
            f"{setting} is {names}, but there are the levels {', '.join(input_shape)}. "
            "Choose among these."
        )
    return {name: input_shape[name] for name in sorted(names, key=lambda n: input_shape[n].stride)}
