"""Example: the head-detection baseline on photographs that keep their shape, with augmentation.

What differs from configs/ofat is how images become inputs.
Hypothesis: Heads of more sizes, at more places and in other light raise AP on valid.
Run: tools/lazyconfig_train_net.py --config-file configs/examples/augmented_heads.py
"""

from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from detectron2.data import transforms as T

from smalldet.data.augment import CropAroundBox
from smalldet.data.mosaic import Mosaic

baseline = "../ofat/baseline_lr0.001_bs8_adamw_ep100.py"
globals().update(LazyConfig.load_rel(baseline))

_size = "${dataloader.image_size}"
_jitter = L(T.ResizeScale)(  # from half of what fits to twice as much
    min_scale=0.5, max_scale=2.0, target_height=_size, target_width=_size
)

dataloader.resize = "keep_aspect"  # of valid and test
dataloader.train.mapper.update(
    augmentations=[
        # Every second sample is four images, each resized by itself.
        L(Mosaic)(dataset="${dataset.name}_train", shape=_size, augmentations=[_jitter], prob=0.5),
        L(CropAroundBox)(crop_size=_size),  # of what is larger than the input
        L(T.RandomFlip)(horizontal=True),
        L(T.RandomBrightness)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomContrast)(intensity_min=0.7, intensity_max=1.3),
        L(T.RandomSaturation)(intensity_min=0.5, intensity_max=1.5),
    ],
    min_visible=0.3,  # a box that is cut to less of its area is no target
)

experiment.update(
    name="example_augmented_heads",
    study="examples",
    level="augmented, aspect kept",
)
