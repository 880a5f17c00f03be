"""Vision Mamba (ViM): the backbone, its blocks, and reading the published weights.

Flows in: images (B, 3, H, W); out: one map at the patch stride. Start reading at ``model``.
"""

from smalldet.backbones.vim.model import VisionMamba

__all__ = ["VisionMamba"]
