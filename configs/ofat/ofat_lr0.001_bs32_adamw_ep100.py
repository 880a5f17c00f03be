"""Question: does four times the batch, at the same learning rate, change what is found?
Hypothesis: A quarter of the steps is too few; AP below the baseline.
Run: ./run_single_ofat.sh ofat_lr0.001_bs32_adamw_ep100
"""

from detectron2.config import LazyConfig

baseline = "baseline_lr0.001_bs8_adamw_ep100.py"
globals().update(LazyConfig.load_rel(baseline))

train.total_batch_size = 32
experiment.update(
    parent="ofat_baseline_lr0.001_bs8_adamw_ep100",
    factors=["train.total_batch_size"],
    level=32,
)
