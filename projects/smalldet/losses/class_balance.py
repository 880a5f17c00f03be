"""A random part of the samples in which every class is as frequent as the rarest."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ClassBalance(nn.Module):
    """Draws samples so that of each class as many are expected.

    Lee et al., ABC: Auxiliary Balanced Classifier for Class-Imbalanced Semi-Supervised Learning,
    2021, arXiv 2110.10368, section 3.2: a sample of class c is kept with the probability
    N_rarest / N_c. The published N are those of the training set; here they are counted as
    training goes on, so that no setting has to follow the data.

    Args:
        num_classes: C.

    Attributes:
        seen: (C,) int64, samples of each class so far; a buffer, so that a resumed run goes on.
    """

    seen: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(num_classes, dtype=torch.long))

    def shares(self) -> Tensor:
        """(C,) probability to keep a sample of each class; 1 for classes that were never seen."""
        never = torch.iinfo(torch.long).max
        rarest = self.seen.masked_fill(self.seen == 0, never).min()
        return (rarest / self.seen.clamp(min=1)).clamp(max=1)

    def forward(self, classes: Tensor) -> Tensor:
        """(P,) whether each sample of ``classes`` (P,) is kept, drawn anew."""
        return torch.rand(classes.shape, device=classes.device) < self.shares()[classes]

    def of_each(self, classes: Tensor) -> Tensor:
        """(C,) how many of ``classes`` (P,) there are of each."""
        return torch.zeros_like(self.seen).index_add(0, classes, torch.ones_like(classes))

    def count(self, of_each: Tensor) -> None:
        """Add ``of_each`` (C,) to what was seen."""
        self.seen += of_each
