"""The recurrent vision transformer (RVT): the MaxViT-RNN backbone and its published checkpoints.

Flows in: event representations (B, C, H, W) and state; out: four maps and the new state. Start
reading at ``model``.
"""

from smalldet.backbones.rvt.model import MaxViTRNN

__all__ = ["MaxViTRNN"]
