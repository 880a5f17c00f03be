"""Learning-rate schedules that fvcore does not have."""

from __future__ import annotations

from fvcore.common.param_scheduler import ParamScheduler


class OneCycle(ParamScheduler):
    """Linear one-cycle multiplier: up to 1, then down to nearly nothing.

    Smith and Topin, Super-Convergence, 2018, arXiv 1708.07120, with linear phases and without
    cycling momentum, as RVT was trained. Step k of ``num_updates`` has the multiplier
    1 / div_factor at k = 0, 1 at k = p = warmup * num_updates - 1, and 1 / final_div_factor at
    k = num_updates - 1; linear in between.

    Args:
        num_updates: steps of the whole run.
        warmup: share of the steps before the peak.
        div_factor: peak over start.
        final_div_factor: peak over end.
    """

    def __init__(
        self,
        num_updates: int,
        warmup: float = 0.005,
        div_factor: float = 20.0,
        final_div_factor: float = 10_000.0,
    ) -> None:
        if num_updates < 1 or not 0 <= warmup < 1:
            raise ValueError(
                f"OneCycle needs at least 1 step and a warm-up in [0, 1), but was given "
                f"num_updates={num_updates} and warmup={warmup}."
            )
        self.num_updates = num_updates
        self.peak = max(warmup * num_updates - 1, 0.0)
        self.start = 1 / div_factor
        self.end = 1 / final_div_factor

    def __call__(self, where: float) -> float:
        """The multiplier at ``where`` = step / num_updates."""
        step = where * self.num_updates
        if step < self.peak:
            return self.start + (1 - self.start) * step / self.peak
        share = (step - self.peak) / max(self.num_updates - 1 - self.peak, 1)
        return 1 + (self.end - 1) * min(share, 1)
