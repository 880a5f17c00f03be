"""Cascade R-CNN as in ViTDet (arXiv 2203.16527): class-agnostic boxes, no masks.

"???" follows from the backbone: a config sets it, or ``RCNNHead`` does. Arguments of the second
and third stage follow the first.
"""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNOutputLayers

from smalldet.heads.box_head import ConvFCBoxHead, FullPrecisionPooler
from smalldet.heads.proposal_head import ProposalHead

proposal_generator = L(RPN)(
    in_features="???",
    head=L(ProposalHead)(in_channels="???", num_anchors="???", conv_dims=[-1, -1]),
    anchor_generator=L(DefaultAnchorGenerator)(
        sizes="???",  # px, one list a level, finest level first
        aspect_ratios=[0.5, 1.0, 2.0],
        strides="???",
        offset=0.0,
    ),
    anchor_matcher=L(Matcher)(
        thresholds=[0.3, 0.7], labels=[0, -1, 1], allow_low_quality_matches=True
    ),
    box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
    batch_size_per_image=256,
    positive_fraction=0.5,
    pre_nms_topk=[2000, 1000],
    post_nms_topk=[1000, 1000],
    nms_thresh=0.7,
    smooth_l1_beta=0.0,
)


def _predictor(weights, **arguments):
    return L(FastRCNNOutputLayers)(
        input_shape=L(ShapeSpec)(channels="${....box_heads.0.fc_dims.0}"),
        box2box_transform=L(Box2BoxTransform)(weights=weights),
        num_classes="${...num_classes}",
        cls_agnostic_bbox_reg=True,
        **arguments,
    )


_first = dict(
    test_score_thresh=0.05, test_nms_thresh=0.5, test_topk_per_image=100, smooth_l1_beta=0.0
)
_as_first = {name: f"${{..0.{name}}}" for name in _first}

roi_heads = L(CascadeROIHeads)(
    num_classes=1,
    batch_size_per_image=512,
    positive_fraction=0.25,
    box_in_features="???",
    box_pooler=L(FullPrecisionPooler)(
        output_size=7, scales="???", sampling_ratio=0, pooler_type="ROIAlignV2"
    ),
    box_heads=[
        L(ConvFCBoxHead)(
            input_shape=L(ShapeSpec)(
                channels="???",
                height="${....box_pooler.output_size}",
                width="${....box_pooler.output_size}",
            ),
            conv_dims=[256, 256, 256, 256],
            fc_dims=[1024],
            conv_norm="LN",
            checkpoint=False,
        ),
        "${.0}",
        "${.0}",
    ],
    box_predictors=[
        _predictor([10, 10, 5, 5], **_first),
        _predictor([20, 20, 10, 10], **_as_first),
        _predictor([30, 30, 15, 15], **_as_first),
    ],
    proposal_matchers=[
        L(Matcher)(thresholds=[iou], labels=[0, 1], allow_low_quality_matches=False)
        for iou in (0.5, 0.6, 0.7)
    ],
)
