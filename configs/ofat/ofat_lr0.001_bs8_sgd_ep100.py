"""Question: does SGD with momentum find more heads than AdamW?
Hypothesis: At this learning rate it is slower; AP below the baseline.
Run: ./run_single_ofat.sh ofat_lr0.001_bs8_sgd_ep100
"""

from detectron2.config import LazyConfig

baseline = "baseline_lr0.001_bs8_adamw_ep100.py"
globals().update(LazyConfig.load_rel(baseline))

from ..common.optim import sgd as optimizer

experiment.update(
    parent="ofat_baseline_lr0.001_bs8_adamw_ep100",
    factors=["optimizer"],
    level="sgd",
)
