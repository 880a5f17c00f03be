"""Score the model as it trains, keep the best weights, and end a run that gets no better."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from detectron2.engine import HookBase
from detectron2.utils import comm
from numpy.typing import NDArray

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
        sheet: Draws what was scored as (H, W, 3) RGB, or gives None; called in the main process.
    """

    best_name = "model_best"

    def __init__(
        self,
        period: int,
        score: Callable[[], dict[str, float | None]],
        checkpointer: RunCheckpointer,
        metric: str,
        sheet: Callable[[], NDArray[np.uint8] | None] | None = None,
    ) -> None:
        self.period = period
        self.score = score
        self.checkpointer = checkpointer
        self.metric = metric
        self.sheet = sheet
        self.forget()

    def forget(self) -> None:
        """Whatever is scored next is the best so far."""
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
        if self.sheet and (picture := self.sheet()) is not None:
            self.trainer.storage.put_image("found", picture.transpose(2, 0, 1))

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


class EarlyStop(HookBase):
    """Ends training after ``patience`` evaluations in a row without a better best score.

    It lowers the trainer's ``max_iter`` to the step at hand, so every hook after it takes that for
    the last one. The learning rate is not touched. Comes right after ``evaluation``.
    """

    def __init__(self, patience: int, evaluation: Evaluate) -> None:
        self.patience = patience
        self.evaluation = evaluation
        self.waited = 0
        """Evaluations since the best one."""

    @property
    def is_over(self) -> bool:
        """Whether the run has waited long enough; also of one that was resumed after its end."""
        return self.waited >= self.patience

    def after_step(self) -> None:
        """Count, and end the run if it is over."""
        if not is_due(self.trainer.iter, self.evaluation.period, self.trainer.max_iter):
            return
        improved = self.evaluation.best_iteration == self.trainer.iter
        waited = 0 if improved else self.waited + 1
        self.waited = comm.all_gather(waited)[0]  # only the main process knows the scores
        if self.is_over:
            self.trainer.max_iter = self.trainer.iter + 1
            logger.info(f"Stopping after step {self.trainer.max_iter}: {self.reason()}")

    def reason(self) -> str:
        """Why the run ended, in a sentence."""
        best, step = self.evaluation.best_score, self.evaluation.best_iteration + 1
        what = f"did not exceed {best:.3f} (step {step})" if step else "was never defined"
        times = "evaluation" if self.waited == 1 else "evaluations"
        return f"{self.evaluation.metric} {what} in {self.waited} {times} (train.patience)."

    def state_dict(self) -> dict[str, Any]:
        return {"waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.waited = state["waited"]
