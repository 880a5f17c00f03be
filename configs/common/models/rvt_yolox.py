"""RVT-B: MaxViT-RNN, PAFPN on its three coarsest stages, YOLOX head."""

from detectron2.config import LazyCall as L

from smalldet.detectors.recurrent import RecurrentDetector
from smalldet.heads.yolox import YOLOXHead
from smalldet.necks.pafpn import PAFPN

from ..backbones.rvt import rvt_base

model = L(RecurrentDetector)(
    backbone=L(PAFPN)(
        bottom_up=rvt_base,
        in_stages=[2, 3, 4],
        depth=0.67,
        enable_small_object_attention=False,
        attention_spatial=True,
        attention_temporal=True,
        temporal_weights="channels",
    ),
    head=L(YOLOXHead)(
        num_classes=8,
        in_features=None,  # all that the neck gives
        width=None,  # a quarter of the coarsest level's channels
        depthwise=False,
        activation="silu",
        use_l1=False,
        iou_loss="iou",
        classification_loss="bce",
        size_aware_loss=False,
        size_aware_terms=["iou"],
        size_aware_weight=2.0,
        small_threshold=1024.0,  # px²
        medium_threshold=9216.0,
        weight_type="exponential",
        rescue_unmatched=False,
        assignment_metric="iou",
        nwd_size=12.8,  # px
        balanced_classifier=False,
        score_threshold=0.001,  # AP counts weak detections too; RVT was evaluated so
        nms_threshold=0.45,
        max_detections=300,  # a frame; AR@300 asks for as many
    ),
    init_checkpoint="",
)
