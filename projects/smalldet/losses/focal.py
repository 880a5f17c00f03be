"""Focal loss for independent classes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from smalldet.losses.iou import REDUCTIONS, check_choice, reduced

LEAST_ERROR = 1e-12  # of 1 - p: below gamma 1 the slope of (1 - p)^gamma at 0 is infinite


def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, alpha: float | None = 0.25, gamma: float = 2.0
) -> Tensor:
    """alpha_t (1 - p_t)^gamma BCE, elementwise.

    Lin et al., Focal Loss for Dense Object Detection, 2017, arXiv 1708.02002, equation 5. With
    p = sigmoid(logit), p_t = p t + (1 - p)(1 - t), likewise alpha_t; so soft targets work too.

    Args:
        logits: (...).
        targets: (...), of 0 to 1.
        alpha: weight of targets of 1; those of 0 weigh 1 - alpha. None: no such weight.
        gamma: how strongly what is right already is played down; 0 is the cross-entropy.
    """
    p = logits.sigmoid()
    error = (p + targets - 2 * p * targets).clamp(min=LEAST_ERROR)  # 1 - p_t
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    losses = losses * error.pow(gamma)
    if alpha is None:
        return losses
    return losses * (alpha * targets + (1 - alpha) * (1 - targets))


class FocalLoss(nn.Module):
    """``sigmoid_focal_loss`` with a reduction.

    Args:
        alpha: weight of targets of 1, or None.
        gamma: exponent of the error; at least 0.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: an unknown reduction, a negative gamma, or an alpha that is no share.
    """

    def __init__(
        self, alpha: float | None = 0.25, gamma: float = 2.0, reduction: str = "mean"
    ) -> None:
        super().__init__()
        check_choice("reduction", reduction, REDUCTIONS)
        if gamma < 0:
            raise ValueError(f"gamma is {gamma}; it must be at least 0.")
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}; give a share between 0 and 1, or None.")
        self.alpha = alpha
        self.gamma = gamma
        self.reduction = reduction

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Tensors of one shape -> that shape, or a scalar if reduced."""
        return reduced(sigmoid_focal_loss(logits, targets, self.alpha, self.gamma), self.reduction)
