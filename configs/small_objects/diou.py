"""Question: does a box loss that pulls centres together find more small heads?
Hypothesis: Boxes that do not overlap yet come nearer sooner; small-head AP above GIoU's.
Run: tools/lab.py run small_objects --only diou
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

model.proposal_generator.box_reg_loss_type = "diou"
experiment.update(
    parent="small_objects_baseline",
    factors=["model.proposal_generator.box_reg_loss_type"],
    level="DIoU",
)
