"""Run folders of small models with random weights, as training leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import instantiate

from labbook.config.load import load_config, save_config, to_plain
from smalldet.engine.checkpoint import save_whole

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = {
    "events": "configs/debug/etram_baseline_3scale.py",
    "images": "configs/examples/yolox_vim_tiny.py",
    "cascade": "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py",
}
_VIM = {"img_size": 64, "embed_dim": 16, "depth": 1, "init_checkpoint": "''"}
VIM = [f"model.backbone.bottom_up.{key}={value}" for key, value in _VIM.items()]
OVERRIDES = {  # two levels: what exporting takes grows with the operations of a graph
    "events": [
        "model.backbone.bottom_up.embed_dim=8",
        "model.backbone.bottom_up.dim_head=8",
        "model.backbone.in_stages=[2,3]",
        "model.head.score_threshold=0.0",
        "model.head.max_detections=null",
    ],
    "images": [
        *VIM,
        "dataloader.image_size=64",
        "model.backbone.out_channels=8",
        "model.head.width=8",
        "model.head.in_features=[p2,p3]",
        "model.head.score_threshold=0.0",
    ],
    "cascade": [*VIM, "dataloader.image_size=64"],
}


def spread(model: torch.nn.Module, scale: float) -> torch.nn.Module:
    """``model`` as if trained: cells differ in score, class and box; of untrained ones many tie."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "_preds" in name:
            weights = scale * torch.randn(parameter.shape, generator=generator)
            parameter.data = weights if name.endswith("weight") else 0 * parameter.data
        elif name.endswith("bn.weight"):
            parameter.data = 2 * parameter.data
    return model.eval()


def write_run(kind: str, folder: Path, overrides: Sequence[str] = ()) -> Path:
    """``folder`` as a run folder of one of ``CONFIGS``; its data are nowhere."""
    overrides = [*OVERRIDES[kind], f"dataset.root={folder / 'data'}", *overrides]
    cfg = load_config(ROOT / CONFIGS[kind], overrides)
    save_config(cfg, folder)
    torch.manual_seed(1)
    model = instantiate(to_plain(cfg.model))
    spread(model, 10.0 if kind == "events" else 1.0)
    content = {"model": model.state_dict(), "trainer": {"optimizer": {"state": [1, 2]}}}
    save_whole(content, folder / "model_best.pth")
    return folder
