"""Question: do half as many epochs again find more heads?
Hypothesis: A small gain; the head is not yet saturated.
Run: ./run_single_ofat.sh ofat_lr0.001_bs8_adamw_ep150
"""

from detectron2.config import LazyConfig

baseline = "baseline_lr0.001_bs8_adamw_ep100.py"
globals().update(LazyConfig.load_rel(baseline))

train.epochs = 150
experiment.update(
    parent="ofat_baseline_lr0.001_bs8_adamw_ep100",
    factors=["train.epochs"],
    level=150,
)
