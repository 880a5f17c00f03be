"""Question: does twice the batch, at the same learning rate, change what is found?
Hypothesis: Half the steps, a smoother loss, AP near the baseline.
Run: ./run_single_ofat.sh ofat_lr0.001_bs16_adamw_ep100
"""

from detectron2.config import LazyConfig

baseline = "baseline_lr0.001_bs8_adamw_ep100.py"
globals().update(LazyConfig.load_rel(baseline))

train.total_batch_size = 16
experiment.update(
    parent="ofat_baseline_lr0.001_bs8_adamw_ep100",
    factors=["train.total_batch_size"],
    level=16,
)
