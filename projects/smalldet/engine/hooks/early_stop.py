"""End a run that gets no better."""

from __future__ import annotations

import logging
from typing import Any

from detectron2.engine import HookBase

from smalldet.engine.distributed import all_gather
from smalldet.engine.hooks.evaluation import Evaluate
from smalldet.engine.hooks.period import is_due

logger = logging.getLogger(__name__)


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
        self.waited = all_gather(waited)[0]  # only the main process knows the scores
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
