"""Necks: backbones that rearrange the maps of another backbone.

Flows in: maps by name (and a neck's own state, where it has one); out: maps of other strides or
contents, declared likewise. May import ``backbones.base``, layers, losses and kernels. Start
reading at ``base``; then ``simple_pyramid`` or ``pafpn``.
"""

from smalldet.necks.pafpn import PAFPN
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid

__all__ = ["PAFPN", "SimpleFeaturePyramid"]
