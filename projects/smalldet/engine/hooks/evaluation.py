"""Score the model as it trains, and keep the best weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from detectron2.engine import HookBase
from detectron2.utils import comm

from smalldet.engine.checkpoint import RunCheckpointer
from smalldet.engine.hooks.period import is_due

logger = logging.getLogger(__name__)


class Evaluate(HookBase):
    """Scores the model every ``period`` steps and at the end, and keeps the best weights.

    The best score is part of the checkpoint, so a resumed run does not overwrite a better model.

    Args:
        period: In steps.
        score: Returns flat scores in the main process; called in every process.
        checkpointer: Writes the best weights, as ``best_name``.
        metric: Name of the score to maximise; without it among the scores none is best.
    """

    best_name = "model_best"

    def __init__(
        self,
        period: int,
        score: Callable[[], dict[str, float | None]],
        checkpointer: RunCheckpointer,
        metric: str,
    ) -> None:
        self.period = period
        self.score = score
        self.checkpointer = checkpointer
        self.metric = metric
        self.best_score = -math.inf
        self.best_iteration = -1

    def after_step(self) -> None:
        if not is_due(self.trainer.iter, self.period, self.trainer.max_iter):
            return
        scores = self.score()
        if comm.is_main_process():
            self._log(scores)
            self._keep_best(scores)
        comm.synchronize()

    def _log(self, scores: dict[str, float | None]) -> None:
        for name, value in scores.items():
            number = math.nan if value is None else float(value)
            self.trainer.storage.put_scalar(name, number, smoothing_hint=False)

    def _keep_best(self, scores: dict[str, float | None]) -> None:
        value = scores.get(self.metric)
        if value is None or not value > self.best_score:
            return
        self.best_score, self.best_iteration = float(value), self.trainer.iter
        extra = {"iteration": self.best_iteration, "score": self.best_score}
        self.checkpointer.save_weights(self.best_name, **extra)
        logger.info(f"Best {self.metric} so far: {value:.3f} after step {self.trainer.iter + 1}.")

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_iteration": self.best_iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_score = state["best_score"]
        self.best_iteration = state["best_iteration"]
