"""Backbones of timm, frozen, with the weights of its hub: all of ImageNet-1k, all of its scale.

They are normalised as ``common/models/cascade_rcnn_vim.py`` does. All take images of any size;
``img_size`` is the one that positions and windows are laid out for.
"""

from detectron2.config import LazyCall as L

from smalldet.backbones.timm import TimmBackbone

# DeiT's weights (Touvron et al., 2021, arXiv 2012.12877): timm's other ViT-Tiny saw ImageNet-21k.
vit_tiny = L(TimmBackbone)(
    model_name="deit_tiny_patch16_224.fb_in1k",
    out_indices=[-1],
    model_options=dict(img_size="${dataloader.image_size}", dynamic_img_size=True),
    frozen=True,
    init_checkpoint="",
    pretrained=True,
)

# He et al., 2015, arXiv 1512.03385
resnet50 = L(TimmBackbone)(
    model_name="resnet50.tv_in1k",
    out_indices=[1, 2, 3, 4],
    model_options={},
    frozen=True,
    freeze_batch_norm=True,
    init_checkpoint="",
    pretrained=True,
)

# Liu et al., 2022, arXiv 2201.03545
convnext_tiny = L(TimmBackbone)(
    model_name="convnext_tiny.fb_in1k",
    out_indices=[0, 1, 2, 3],
    model_options={},
    frozen=True,
    init_checkpoint="",
    pretrained=True,
)

# Liu et al., 2021, arXiv 2103.14030
swin_tiny = L(TimmBackbone)(
    model_name="swin_tiny_patch4_window7_224.ms_in1k",
    out_indices=[0, 1, 2, 3],
    model_options=dict(img_size="${dataloader.image_size}", strict_img_size=False),
    frozen=True,
    init_checkpoint="",
    pretrained=True,
)
