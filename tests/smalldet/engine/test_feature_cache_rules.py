"""Which training images a feature cache can serve."""

from __future__ import annotations

import pytest

from smalldet.engine.feature_cache import check_augmentations, frozen_part
from toy_detection import PatchBackbone


def node(name: str, **options):
    return {"_target_": f"detectron2.data.transforms.augmentation_impl.{name}", **options}


def test_only_resizing_and_a_mirror_may_come_before_the_backbone():
    check_augmentations([node("Resize", shape=64), node("RandomFlip", horizontal=True)])
    for random in (node("RandomBrightness"), node("RandomFlip", vertical=True)):
        with pytest.raises(ValueError, match="changes images at random before the frozen backbone"):
            check_augmentations([node("Resize", shape=64), random])


def test_a_model_without_a_frozen_backbone_is_refused():
    with pytest.raises(ValueError, match="0 of PatchBackbone are frozen"):
        frozen_part(PatchBackbone({"p4": (8, 16)}))
