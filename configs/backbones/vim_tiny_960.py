"""Question: do inputs of 960 px find more small heads than 640 px, alone and with tiles?
Hypothesis: Small heads gain most, at 2.25 times the cost; tiles add less than at 640 px.
Run: tools/lab.py run backbones --only vim_tiny_960
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

dataloader.image_size = 960
experiment.update(
    parent="backbones_baseline",
    factors=["dataloader.image_size"],
    level=960,
)
