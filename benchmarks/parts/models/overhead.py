"""What training costs outside of the model: the debug OFAT baseline in the real trainer."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from benchmarks.measure import Row
from benchmarks.ofat import build
from smalldet.engine.build import register_data
from smalldet.engine.run import train

CONFIG = "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
STEPS, WARM_UP = 50, 8
LIMIT = 0.10  # of a step's time


def rows() -> Iterator[Row]:
    """The share of a step's time that is neither forward, backward nor optimizer.

    In the columns: a whole step, what is outside, and the allowed share over that found.
    """
    with tempfile.TemporaryDirectory() as folder:
        steps = measured_steps(Path(folder))[WARM_UP:]
    yield share_row("debug OFAT baseline, outside of model", steps)


def share_row(name: str, steps: list[tuple[float, float]]) -> Row:
    """Of (seconds, seconds inside forward, backward and optimizer) a step; medians."""
    outside = [whole - inside for whole, inside in steps]
    share = statistics.median(out / whole for out, (whole, _) in zip(outside, steps, strict=True))
    low, middle, high = statistics.quantiles(outside, n=4)
    whole = statistics.median(whole for whole, _ in steps)
    return Row(name, whole * 1e3, middle * 1e3, LIMIT / share, 1.0, (high - low) / middle)


def measured_steps(folder: Path) -> list[tuple[float, float]]:
    """Time and time inside of each step, from one optimizer step to the next.

    So data, hooks and logs (a line in each file and in the terminal at each step) are part of it;
    evaluation and checkpoints, both at the end, are not.
    """
    overrides = [
        f"dataset.root={folder / 'heads'}",
        f"train.output_dir={folder / 'run'}",
        f"train.max_iter={STEPS}",
        f"train.eval_period={STEPS}",
        f"train.checkpointer.period={STEPS}",
    ]
    cfg, settings, model = build(CONFIG, *overrides)
    Path(settings.output_dir).mkdir(parents=True)
    fingerprint = register_data(cfg, settings, model).fingerprint()
    clock = StepClock()
    with clock.attached(model):
        train(cfg, settings, model, False, fingerprint)
    return clock.steps


class StepClock:
    """Adds up the time inside forward, backward and optimizer of each step of the trainer."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []
        self._inside = self._entered = 0.0
        self._ended: float | None = None

    def enter(self, *_: Any) -> None:
        self._entered = time.perf_counter()

    def leave(self, *_: Any) -> None:
        self._inside += time.perf_counter() - self._entered

    def end(self, *_: Any) -> None:
        """After the optimizer has stepped."""
        self.leave()
        now = time.perf_counter()
        if self._ended is not None:
            self.steps.append((now - self._ended, self._inside))
        self._ended, self._inside = now, 0.0

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Watch ``model``, every backward pass and every optimizer."""
        backward = Tensor.backward

        def timed(tensor: Tensor, *given: Any, **named: Any) -> None:
            self.enter()
            backward(tensor, *given, **named)
            self.leave()

        hooks = [
            model.register_forward_pre_hook(self.enter),
            model.register_forward_hook(self.leave),
            register_optimizer_step_pre_hook(self.enter),
            register_optimizer_step_post_hook(self.end),
        ]
        try:
            with patch.object(torch.Tensor, "backward", timed):
                yield
        finally:
            for hook in hooks:
                hook.remove()
