"""RVT-B as published with eTraM, on its three groups of classes: scored as the publication does.

Prepare the recordings for it, with the published choice of times and boxes:
tools/prepare_events.py RAW datasets/etram_3groups --class-map etram_3groups --published
Run: tools/lazyconfig_train_net.py --config-file configs/rvt/published/etram_base.py --eval-only
"""

from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from labbook.config.experiment import Experiment

globals().update(LazyConfig.load_rel("../../etram/baseline_3scale_100k.py"))

dataset.update(
    name="etram_3groups",
    root="${oc.env:DETECTRON2_DATASETS,datasets}/etram_3groups",
    class_map="etram_3groups",
)
model.head.num_classes = 3
model.init_checkpoint = "ckpts/rvt/etram_base.ckpt"
experiment = L(Experiment)(level="RVT-B as published on eTraM")
