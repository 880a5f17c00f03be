"""Detectors: a backbone and a head as one model, Detectron2's meta architectures.

Flows in: Detectron2's dicts of images, or chunks of recordings; out: losses by name in training,
else one ``{"instances": Instances}`` an image or labelled frame. May import backbones, necks,
heads and what is below them. Start reading at ``image``; then ``recurrent``.
"""

from smalldet.detectors.image import ImageDetector
from smalldet.detectors.recurrent import RecurrentDetector

__all__ = ["ImageDetector", "RecurrentDetector"]
