"""The eTraM baseline at demo size: configs/debug/etram_baseline_3scale.py as a run of the demo.

Hypothesis: RVT finds vehicles well and misses most small road users.
Run: make demo
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("../etram_baseline_3scale.py"))

experiment.update(name="demo_events", study="demo")
