"""Detectron2's own R-CNN meta architecture around a backbone and a Cascade R-CNN head."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.backbone import Backbone

from smalldet.detectors.image import IMAGENET_MEAN, IMAGENET_STD
from smalldet.heads.rcnn import CascadeRCNN


def generalized_rcnn(
    backbone: Backbone,
    head: CascadeRCNN,
    pixel_mean: Sequence[float] = IMAGENET_MEAN,
    pixel_std: Sequence[float] = IMAGENET_STD,
    input_format: str = "RGB",
) -> GeneralizedRCNN:
    """Wire Detectron2's ``GeneralizedRCNN`` from the shapes that ``backbone`` declares.

    Its state dict has Detectron2's names: ``backbone.``, ``proposal_generator.``, ``roi_heads.``.

    Args:
        backbone: any Detectron2 backbone whose levels agree in channels.
        head: settings of the head.
        pixel_mean: subtracted from each channel of an image of 0 to 255.
        pixel_std: divides each channel after that.
        input_format: order of the channels, for Detectron2's visualisation.

    Raises:
        ValueError: levels of unequal channels, or settings that do not fit the levels.
    """
    built = head.build(backbone.output_shape())
    if len(built.projections) > 0:
        raise ValueError(
            f"The levels {', '.join(built.projections)} of {type(backbone).__name__} need a 1x1 "
            "projection, which Detectron2's GeneralizedRCNN has no place for. Put a neck around "
            "the backbone, or use smalldet.detectors.image.ImageDetector."
        )
    return GeneralizedRCNN(
        backbone=backbone,
        proposal_generator=built.proposal_generator,
        roi_heads=built.roi_heads,
        pixel_mean=tuple(pixel_mean),
        pixel_std=tuple(pixel_std),
        input_format=input_format,
    )
