"""Exponential moving average of the weights, scored beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from smalldet.engine.checkpoint import RunCheckpointer
from smalldet.engine.distributed import unwrapped
from smalldet.engine.hooks.evaluation import Evaluate
from smalldet.engine.hooks.period import is_due

PREFIX = "ema/"
"""Stands before the names of the scores of the averaged weights."""
BEST = "model_best_ema"


class WeightAverage:
    """A running average of the trainable parameters of a model.

    After update t = 0, 1, ... it is ``d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + t) / (10 + t))``, so that it soon forgets the initial weights. Frozen
    parameters and buffers have no copy: those of the model count.

    Args:
        model: wrapped for several processes or not; all have the same weights, so each averages
            for itself.
        decay: between 0 and 1, as 0.999.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._weights: dict[str, Tensor] = {
            name: weight
            for name, weight in unwrapped(model).named_parameters()
            if weight.requires_grad
        }
        self._average = {name: weight.detach().clone() for name, weight in self._weights.items()}

    def update(self) -> None:
        """Take in the weights after an optimisation step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        average, weights = list(self._average.values()), list(self._weights.values())
        get_ema_multi_avg_fn(decay)(average, weights, self.updates)
        self.updates += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the model has the averaged weights; afterwards its own, to the last bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.updates = state["updates"]
        for name, average in self._average.items():
            average.copy_(state["average"][name])

    def _swap(self) -> None:
        """Exchange which memory is whose; nothing is copied or rounded."""
        for name, weight in self._weights.items():
            self._average[name], weight.data = weight.data, self._average[name]


class EvaluateAverage(Evaluate):
    """Averages the weights at every step; scores them whenever the weights are scored.

    Its scores have ``ema/`` before their names, and the best ones are kept in
    ``model_best_ema.pth``. Comes after every hook that changes weights.

    Args:
        average: of the model.
        period, score, checkpointer, metric: as of :class:`Evaluate`; ``score`` gives, and
            ``metric`` is, a name without ``ema/``.
    """

    best_name = BEST

    def __init__(
        self,
        average: WeightAverage,
        period: int,
        score: Callable[[], dict[str, float | None]],
        checkpointer: RunCheckpointer,
        metric: str,
    ) -> None:
        super().__init__(period, lambda: _prefixed(score()), checkpointer, PREFIX + metric)
        self.average = average

    def after_step(self) -> None:
        """Average, and score if due."""
        self.average.update()
        if is_due(self.trainer.iter, self.period, self.trainer.max_iter):
            with self.average.in_place():
                super().after_step()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.average.load_state_dict(state["average"])


def _prefixed(scores: dict[str, float | None]) -> dict[str, float | None]:
    return {PREFIX + name: value for name, value in scores.items()}
