"""Where heads of ours are found by name.

A head is an ``nn.Module`` built from ``dict[str, ShapeSpec]`` with ``losses(features, instances)``
and ``predict(features, image_sizes)``. Its settings object (a dataclass with
``build(input_shape)``) is what a configuration names.
"""

from __future__ import annotations

from detectron2.utils.registry import Registry

HEAD_REGISTRY = Registry("HEAD")
