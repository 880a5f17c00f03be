"""Heads: feature maps to losses and detections, on any backbone.

Flows in: maps by name, and Detectron2's ``Instances`` in training; out: scalar losses by name, or
``Instances``. May import layers, losses and kernels. Start reading at ``base``; then ``yolox`` (one
stage) or ``rcnn`` (Detectron2's two stages).
"""

from smalldet.heads.base import HEAD_REGISTRY, Head
from smalldet.heads.rcnn import RCNNHead
from smalldet.heads.yolox import YOLOXHead

__all__ = ["HEAD_REGISTRY", "Head", "RCNNHead", "YOLOXHead"]
