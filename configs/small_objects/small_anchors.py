"""Question: do anchors of half the size find more small heads?
Hypothesis: Heads below 32 px get anchors of their size; small-head AP rises.
Run: tools/lab.py run small_objects --only small_anchors
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

model.proposal_generator.anchor_generator.sizes = [[16], [32], [64], [128], [256]]
experiment.update(
    parent="small_objects_baseline",
    factors=["model.proposal_generator.anchor_generator.sizes"],
    level="16 to 256 px",
)
