"""Models and training: what Detectron2 lacks for small objects.

Importing it registers all our classes in Detectron2's registries (backbones and necks, meta
architectures) and in ``HEAD_REGISTRY``. Rooms, from the bottom up: ``kernels``, ``layers`` and
``losses``; ``backbones``, ``necks`` and ``heads``; ``detectors``, which put them together; beside
them ``data``, ``evaluation`` and ``engine``, which know no model. Start reading at ``detectors``.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

# Where a library is missing or broken the doctor must still load; a room says so when imported.
with suppress(ImportError, OSError):
    from smalldet import backbones, detectors, heads, necks  # noqa: F401  (they register classes)

if TYPE_CHECKING:
    from smalldet.predict.loading import load as load


def __getattr__(name: str) -> Any:
    """``smalldet.load``, imported on use: it needs every other package."""
    if name == "load":
        from smalldet.predict.loading import load

        return load
    raise AttributeError(f"module 'smalldet' has no attribute {name!r}")
