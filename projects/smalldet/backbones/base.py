"""What every backbone of ours adds to Detectron2's contract."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling.backbone import Backbone
from torch import Tensor

from smalldet.backbones.feature_cache import FeatureCache


class FeatureBackbone(Backbone):
    """A Detectron2 backbone that can be frozen, stepped through time, and loaded from a file.

    Subclasses implement :meth:`extract` and ``output_shape()``. ``forward`` runs it; when the
    backbone is frozen, without gradients, and from disk if :meth:`use_cache` was called.
    """

    frozen = False
    cache: FeatureCache | None = None

    @abstractmethod
    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Features by name of normalised ``images`` (B, 3, H, W)."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features by name, each (B, C, H / stride, W / stride), of ``images`` (B, 3, H, W)."""
        if not self.frozen:
            return self.extract(images)
        if self.cache is not None:
            return self.cache.read(images)
        with torch.no_grad():
            return _image_by_image(self.extract, images)

    def use_cache(self, root: str | Path, dtype: str = "fp32") -> FeatureCache:
        """Take features from disk from now on; see :class:`FeatureCache` for the errors."""
        self.cache = FeatureCache(root, self, dtype)
        return self.cache

    def step(self, images: Tensor, state: Any = None) -> tuple[dict[str, Tensor], Any]:
        """One time step: features and the next state. Stateless here: the state is returned as is.

        A recurrent backbone overrides this; ``None`` is its start state. ``images`` may be counts
        of any type.
        """
        return self(images.to(next(self.parameters()).dtype)), state

    def freeze(self) -> None:
        """Stop training: no gradients, no graph, and eval mode whatever ``train()`` is told.

        Call it before DistributedDataParallel and the optimizer see the parameters.
        """
        self.frozen = True
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> FeatureBackbone:
        return super().train(mode and not self.frozen)

    def load_pretrained(self) -> None:
        """Load the pretraining checkpoint named in the configuration, if there is one.

        Called once before a run starts from scratch, never on resume or evaluation: a run folder
        holds all weights and stays usable after the pretraining file has gone.
        """

    @property
    def size_divisibility(self) -> int:
        """Images are padded to a multiple of this (0: no padding). Detectron2 0.5 reads it here."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """The same for newer Detectron2."""
        return {"size_divisibility": self.size_divisibility}


def _image_by_image(
    extract: Callable[[Tensor], dict[str, Tensor]], images: Tensor
) -> dict[str, Tensor]:
    """Features of a batch whose digits, on a CPU, do not depend on what else is in the batch.

    Matrix products round differently for other numbers of rows. A GPU wants the batch as a whole.
    """
    if images.device.type != "cpu" or len(images) < 2:
        return extract(images)
    parts = [extract(image[None]) for image in images]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
