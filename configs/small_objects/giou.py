"""Question: does a box loss that asks for overlap itself find more small heads than smooth L1?
Hypothesis: AP at high IoU rises, for small heads most; AP50 hardly moves.
Run: tools/lab.py run small_objects --only giou
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

model.proposal_generator.box_reg_loss_type = "giou"
experiment.update(
    parent="small_objects_baseline",
    factors=["model.proposal_generator.box_reg_loss_type"],
    level="GIoU",
)
