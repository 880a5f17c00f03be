"""A detector of single images: any backbone, any head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList, Instances
from torch import Tensor

from smalldet.detectors.base import Detector, Frame, HeadInputs, padded_batch
from smalldet.heads.base import Head

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # RGB, 0 to 255
IMAGENET_STD = (58.395, 57.12, 57.375)


@META_ARCH_REGISTRY.register()
class ImageDetector(Detector):
    """Normalise and pad images, run the backbone, hand its features to the head.

    With the R-CNN head it gives the losses and detections of Detectron2's ``GeneralizedRCNN``.

    Args:
        backbone: any Detectron2 backbone.
        head: any head of ``HEAD_REGISTRY``.
        pixel_mean: subtracted from each channel of an image of 0 to 255.
        pixel_std: divides each channel after that.
        input_format: order of the channels that the data must bring.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        pixel_mean: Sequence[float] = IMAGENET_MEAN,
        pixel_std: Sequence[float] = IMAGENET_STD,
        input_format: str = "RGB",
    ) -> None:
        super().__init__(backbone, head)
        self.input_format = input_format
        self.register_buffer("pixel_mean", _per_channel(pixel_mean), persistent=False)
        self.register_buffer("pixel_std", _per_channel(pixel_std), persistent=False)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Losses by name in training, else one ``{"instances": Instances}`` an image.

        Args:
            batched_inputs: Detectron2's dicts: ``image`` (3, H, W) of 0 to 255; in training
                ``instances`` with ``gt_boxes`` (xyxy_abs, px of that image) and ``gt_classes``;
                in inference ``height`` and ``width``, the size that detections are scaled to
                (without them: the size of the image).

        Raises:
            ValueError: an input without ``instances`` in training.
        """
        if self.training:
            inputs = self.head_inputs(batched_inputs)
            return self.head.losses(inputs.features, inputs.targets)
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        detections = self.head.predict(features, images.image_sizes)
        return [
            {"instances": _rescaled(found, inputs)}
            for found, inputs in zip(detections, batched_inputs, strict=True)
        ]

    def head_inputs(self, batched_inputs: list[dict[str, Any]]) -> HeadInputs:
        """What the head learns from in training; see :meth:`forward`. Each image is one step."""
        targets = self._targets(batched_inputs)
        features = self.backbone(self.preprocess_image(batched_inputs).tensor)
        return HeadInputs(features, targets, [Frame(i, 0) for i in range(len(targets))])

    def preprocess_image(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        """The normalised and padded images, as the backbone gets them."""
        images = [x["image"].to(self.device) for x in batched_inputs]
        normalised = [(x - self.pixel_mean) / self.pixel_std for x in images]
        return padded_batch(normalised, self.backbone)

    def _targets(self, batched_inputs: list[dict[str, Any]]) -> list[Instances]:
        missing = [
            str(x.get("file_name", i)) for i, x in enumerate(batched_inputs) if "instances" not in x
        ]
        if missing:
            raise ValueError(
                f"No 'instances' in the input of {', '.join(missing)}. Training needs labels (an "
                "image without objects has empty ones): use the training mapper, or call eval()."
            )
        return [x["instances"].to(self.device) for x in batched_inputs]


def _rescaled(found: Instances, inputs: dict[str, Any]) -> Instances:
    height, width = found.image_size
    return detector_postprocess(found, inputs.get("height", height), inputs.get("width", width))


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor([float(value) for value in values]).view(-1, 1, 1)
