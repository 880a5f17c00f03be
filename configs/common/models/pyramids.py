"""Pyramids of the levels p2 to p6: of one map of stride 16, or of maps of strides 4 to 32."""

from detectron2.config import LazyCall as L
from detectron2.modeling.backbone import FPN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from smalldet.necks.simple_pyramid import SimpleFeaturePyramid

simple_pyramid = L(SimpleFeaturePyramid)(
    bottom_up="???",
    in_feature="stride16",
    out_channels=256,
    scale_factors=[4, 2, 1, 0.5],
    checkpoint=False,
)

fpn = L(FPN)(
    bottom_up="???",
    in_features=["stride4", "stride8", "stride16", "stride32"],
    out_channels=256,
    norm="GN",  # the simple pyramid normalises each level, too
    top_block=L(LastLevelMaxPool)(),
)
