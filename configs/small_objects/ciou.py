"""Question: does a box loss of overlap, centre and shape find more small heads?
Hypothesis: Heads have much the same shape, so no more than DIoU.
Run: tools/lab.py run small_objects --only ciou
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

model.proposal_generator.box_reg_loss_type = "ciou"
experiment.update(
    parent="small_objects_baseline",
    factors=["model.proposal_generator.box_reg_loss_type"],
    level="CIoU",
)
