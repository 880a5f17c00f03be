"""Question: does a box loss that forgives a tiny box a pixel find more small heads?
Hypothesis: IoU of tiny boxes jumps with a pixel, NWD does not; small-head AP rises, AP75 falls.
Run: tools/lab.py run small_objects --only nwd
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

model.proposal_generator.box_reg_loss_type = "nwd"
experiment.update(
    parent="small_objects_baseline",
    factors=["model.proposal_generator.box_reg_loss_type"],
    level="NWD",
)
