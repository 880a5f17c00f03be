"""Question: do small heads get proposals if anchors are matched by NWD instead of IoU?
Hypothesis: Small heads get more anchors and large ones fewer; recall of small ones rises.
Run: tools/lab.py run small_objects --only nwd_assignment
"""

from detectron2.config import LazyConfig

globals().update(LazyConfig.load_rel("baseline.py"))

model.proposal_generator.assignment_metric = "nwd"
experiment.update(
    parent="small_objects_baseline",
    factors=["model.proposal_generator.assignment_metric"],
    level="NWD",
)
