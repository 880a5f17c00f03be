"""Backbones: images or events to feature maps.

Flows in: images (B, 3, H, W), or event counts (B, C, H, W) with a state; out: maps by name, as
``output_shape()`` declares them, and the next state. Published weights are read here, too. May
import layers, losses and kernels. Start reading at ``base``; then ``vim``, ``rvt`` or ``timm``.
"""

from smalldet.backbones.rvt import MaxViTRNN
from smalldet.backbones.timm import TimmBackbone
from smalldet.backbones.vim import VisionMamba

__all__ = ["MaxViTRNN", "TimmBackbone", "VisionMamba"]
