"""A weight file in the form of the published ones, filled with random weights.

It lets the demo and the tests go through the real loader without a download.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from runfolder.files import replacing
from smalldet.backbones.vim.model import VisionMamba

PRETRAIN_SIZE = 224
MODEL_NAME = "vim_tiny_patch16_224_bimambav2_final_pool_mean_abs_pos_embed_with_midclstok_div2"


def write_random_checkpoint(
    path: str | Path,
    depth: int = 24,
    embed_dim: int = 192,
    seed: int = 0,
    num_classes: int = 1000,
) -> Path:
    """Write a random ViM classifier: class token in the middle, no rope, directions averaged.

    The file depends on the arguments only, and the global random state is left as it was. It is
    written beside its place and moved there, so an interrupted call leaves no half file.

    Args:
        path: where to; folders are made, an existing file is replaced.
        depth: number of blocks.
        embed_dim: channels.
        seed: seed of the weights.
        num_classes: width of the classification head.

    Returns:
        ``path``.
    """
    path = Path(path)
    args = argparse.Namespace(model=MODEL_NAME, input_size=PRETRAIN_SIZE, seed=seed)
    content = {
        "model": _classifier_tensors(depth, embed_dim, seed, num_classes),
        "args": args,
        "epoch": 0,
    }
    with replacing(path) as partial:
        torch.save(content, partial)
    return path


def _classifier_tensors(
    depth: int, embed_dim: int, seed: int, num_classes: int
) -> dict[str, Tensor]:
    """State dict of the classifier: the backbone's names plus ``norm_f`` and ``head``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = VisionMamba(
            PRETRAIN_SIZE, embed_dim=embed_dim, depth=depth, last_layer="add_norm"
        )
        head = nn.Linear(embed_dim, num_classes)
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    tensors = backbone.state_dict() | {f"head.{k}": v for k, v in head.state_dict().items()}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
