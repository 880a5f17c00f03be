"""Question: do twice the epochs find more heads?
Hypothesis: Little over 150 epochs; the first sign of overfitting.
Run: ./run_single_ofat.sh ofat_lr0.001_bs8_adamw_ep200
"""

from detectron2.config import LazyConfig

baseline = "baseline_lr0.001_bs8_adamw_ep100.py"
globals().update(LazyConfig.load_rel(baseline))

train.epochs = 200
experiment.update(
    parent="ofat_baseline_lr0.001_bs8_adamw_ep100",
    factors=["train.epochs"],
    level=200,
)
