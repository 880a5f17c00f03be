"""ViM-Tiny (Zhu et al., 2024, arXiv 2401.09417), frozen, as its middle-class-token weights are."""

from detectron2.config import LazyCall as L

from smalldet.backbones.vim import VisionMamba

vim_tiny = L(VisionMamba)(
    img_size="${dataloader.image_size}",
    patch_size=16,
    embed_dim=192,
    depth=24,
    class_token="middle",
    rope=False,
    divide_directions=True,
    frozen=True,
    init_checkpoint="ckpts/vim_tiny_pretrained.pth",
)
