"""Question: does RMSProp find more heads than AdamW?
Hypothesis: Near AdamW, noisier without momentum.
Run: ./run_single_ofat.sh ofat_lr0.001_bs8_rmsprop_ep100
"""

from detectron2.config import LazyConfig

baseline = "baseline_lr0.001_bs8_adamw_ep100.py"
globals().update(LazyConfig.load_rel(baseline))

from ..common.optim import rmsprop as optimizer

experiment.update(
    parent="ofat_baseline_lr0.001_bs8_adamw_ep100",
    factors=["optimizer"],
    level="rmsprop",
)
