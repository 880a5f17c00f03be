"""Question: does a learning rate five times the baseline's reach a better optimum?
Hypothesis: Faster at first, noisier at the end, AP at or below the baseline.
Run: ./run_single_ofat.sh ofat_lr0.005_bs8_adamw_ep100
"""

from detectron2.config import LazyConfig

baseline = "baseline_lr0.001_bs8_adamw_ep100.py"
globals().update(LazyConfig.load_rel(baseline))

optimizer.lr = 0.005
experiment.update(
    parent="ofat_baseline_lr0.001_bs8_adamw_ep100",
    factors=["optimizer.lr"],
    level=0.005,
)
