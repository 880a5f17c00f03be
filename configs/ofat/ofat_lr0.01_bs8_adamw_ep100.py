"""Question: does a learning rate ten times the baseline's train the head faster or break it?
Hypothesis: It is above what AdamW bears; AP falls or training diverges.
Run: ./run_single_ofat.sh ofat_lr0.01_bs8_adamw_ep100
"""

from detectron2.config import LazyConfig

baseline = "baseline_lr0.001_bs8_adamw_ep100.py"
globals().update(LazyConfig.load_rel(baseline))

optimizer.lr = 0.01
experiment.update(
    parent="ofat_baseline_lr0.001_bs8_adamw_ep100",
    factors=["optimizer.lr"],
    level=0.01,
)
