"""What every backbone of ours adds to Detectron2's contract."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from detectron2.modeling.backbone import Backbone
from torch import Tensor


class FeatureBackbone(Backbone):
    """A Detectron2 backbone that can be frozen, stepped through time, and loaded from a file.

    Subclasses implement :meth:`extract` and ``output_shape()``. ``forward`` runs it, without
    gradients when the backbone is frozen.
    """

    frozen = False

    @abstractmethod
    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Features by name of normalised ``images`` (B, 3, H, W)."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features by name, each (B, C, H / stride, W / stride), of ``images`` (B, 3, H, W)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.extract(images)

    def step(self, images: Tensor, state: Any = None) -> tuple[dict[str, Tensor], Any]:
        """One time step: features and the next state. Stateless here: the state is returned as is.

        A recurrent backbone overrides this; ``None`` is its start state.
        """
        return self(images), state

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
