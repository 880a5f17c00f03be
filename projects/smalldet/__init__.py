"""Models and training: what Detectron2 lacks for small objects.

Importing it registers all our classes in Detectron2's registries (backbones and necks, meta
architectures) and in ``HEAD_REGISTRY``. Rooms, from the bottom up: ``kernels``, ``layers`` and
``losses``; ``backbones``, ``necks`` and ``heads``; ``detectors``, which put them together; beside
them ``data``, ``evaluation`` and ``engine``, which know no model. Start reading at ``detectors``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

# Where a library is missing or broken the doctor must still load; a room says so when imported.
with suppress(ImportError, OSError):
    from smalldet import backbones, detectors, heads, necks  # noqa: F401  (they register classes)

if TYPE_CHECKING:
    from smalldet.predict.loading import Predictor


def load(
    run: str | Path,
    weights: str | Path = "",
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> Predictor:
    """The predictor of a trained run; see :func:`smalldet.predict.loading.load`."""
    from smalldet.predict.loading import load as load_run

    return load_run(run, weights, device, overrides)
