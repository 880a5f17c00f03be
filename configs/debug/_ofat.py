"""Any config that descends from OFAT's baseline, at toy size: for shape, not for score."""

from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from toydata.heads import GeneratedHeads


def toy(name):
    """The OFAT config ``name``, or one of ``../STUDY/NAME``, small and on generated data.

    Epochs are a fiftieth; a minute on a CPU. Backbones other than ViM stay as large as they are.
    """
    cfg = LazyConfig.load_rel(f"../ofat/{name}.py")
    cfg.train.output_dir = "work_dirs/debug/${experiment.name}"
    cfg.dataset.root = "${oc.env:DETECTRON2_DATASETS,datasets}/toy_heads"
    cfg.dataset.name = "toy_heads"
    cfg.dataset.generate = L(GeneratedHeads)(seed=0, image_size=160, train=32, valid=8, test=8)
    cfg.dataloader.image_size = 160
    cfg.dataloader.num_workers = 0
    cfg.train.images = 32
    cfg.train.epochs = cfg.train.epochs // 50
    cfg.train.warmup_iters = 1
    cfg.train.log_period = 1
    backbone, proposals = cfg.model.backbone.bottom_up, cfg.model.proposal_generator
    backbone.init_checkpoint = ""
    if "depth" in backbone:
        backbone.update(depth=2, embed_dim=64)
    cfg.model.backbone.out_channels = 64
    anchors = proposals.anchor_generator
    anchors.sizes = [[side // 4 for side in level] for level in anchors.sizes]
    proposals.update(pre_nms_topk=[500, 300], post_nms_topk=[200, 100])
    cfg.model.roi_heads.box_heads[0].update(conv_dims=[64], fc_dims=[128])
    cfg.model.roi_heads.batch_size_per_image = 64
    return cfg
