"""Learning-rate multipliers over the whole run; warm-up counts in steps."""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler

from smalldet.engine.schedule import OneCycle

# x 0.1 after 70 % and after 90 % of the steps; the milestones are in tenths of the run.
multi_step = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(
        values=[1.0, 0.1, 0.01], milestones=[7, 9], num_updates=10
    ),
    warmup_factor=0.001,
    warmup_length="${ratio:${train.warmup_iters},${train.max_iter}}",
    warmup_method="linear",
)

# Linear one-cycle, as RVT: up from 1/20 within 0.5 % of the steps, then down to 1/10,000.
one_cycle = L(OneCycle)(
    num_updates="${train.max_iter}", warmup=0.005, div_factor=20.0, final_div_factor=10_000.0
)
