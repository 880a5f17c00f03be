"""RVT's MaxViT-RNN (Gehrig and Scaramuzza, CVPR 2023, arXiv 2212.05598) in three sizes."""

from detectron2.config import LazyCall as L

from smalldet.backbones.rvt.model import MaxViTRNN


def rvt(embed_dim, dim_head):
    return L(MaxViTRNN)(
        embed_dim=embed_dim,
        dim_head=dim_head,
        patch_size=4,
        in_channels=20,  # of a stacked histogram; a voxel grid has 10
        checkpoint=False,
    )


rvt_tiny, rvt_small, rvt_base = rvt(32, 32), rvt(48, 24), rvt(64, 32)
