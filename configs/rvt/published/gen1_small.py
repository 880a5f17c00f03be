"""RVT-S as published, on Gen1: scored by the published protocol, or trained further.

Run: tools/lazyconfig_train_net.py --config-file configs/rvt/published/gen1_small.py --eval-only
"""

from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from labbook.config.experiment import Experiment

globals().update(LazyConfig.load_rel("../../rvt/gen1_small.py"))

model.init_checkpoint = "ckpts/rvt/gen1_small.ckpt"
experiment = L(Experiment)(level="RVT-S as published on Gen1")
