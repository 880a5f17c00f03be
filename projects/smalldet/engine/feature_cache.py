"""Compute once what a frozen backbone would compute in every epoch of every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from detectron2.config import instantiate
from torch import nn
from tqdm import tqdm

from smalldet.data.splits import SPLITS
from smalldet.engine.build import Config, build_model, load_pretrained, register_data
from smalldet.engine.settings import TrainSettings, read_settings

REPEATABLE = ("Resize", "ResizeToFit", "RandomFlip")


def use_feature_cache(cfg: Config, settings: TrainSettings, model: nn.Module) -> None:
    """Have the frozen backbone of ``model`` read from ``train.feature_cache``, if that is set.

    Raises:
        ValueError: nothing is frozen, or what reaches the backbone in training is random.
    """
    if settings.feature_cache:
        check_augmentations(cfg["dataloader"]["train"]["mapper"]["augmentations"])
        frozen_part(model).use_cache(settings.feature_cache, settings.feature_cache_dtype)


def fill_feature_cache(cfg: Config, folder: str, dtype: str) -> dict[str, int]:
    """Write the features of all splits, and of the mirrored training images, into ``folder``.

    Args:
        cfg: a loaded and resolved config in plain dicts and lists.
        folder: see ``TrainSettings.feature_cache``.
        dtype: "fp32" or "fp16".

    Returns:
        How many were computed, by split; the others were there.

    Raises:
        ValueError: see :func:`use_feature_cache`.
    """
    check_augmentations(cfg["dataloader"]["train"]["mapper"]["augmentations"])
    settings = read_settings(cfg["train"])
    model: Any = build_model(cfg, settings).eval()
    load_pretrained(model, settings.init_checkpoint)
    register_data(cfg, settings, model)
    cache = frozen_part(model).use_cache(folder, dtype)
    computed: dict[str, int] = dict.fromkeys(SPLITS, 0)
    for split in SPLITS:
        name = f"{cfg['dataset']['name']}_{split}"
        loader: Any = instantiate({**cfg["dataloader"]["valid"], "dataset": name})
        for batch in tqdm(loader, desc=split, unit="batch", disable=None):
            mirrored = [{**s, "image": torch.flip(s["image"], [-1])} for s in batch]
            for seen in [batch, mirrored] if split == "train" else [batch]:
                computed[split] += cache.add(model.preprocess_image(seen).tensor)
    return computed


def frozen_part(model: nn.Module) -> Any:
    """The one frozen backbone of ``model``.

    Raises:
        ValueError: it has none, or several.
    """
    parts: list[Any] = [module for module in model.modules() if hasattr(module, "use_cache")]
    frozen = [part for part in parts if part.frozen]
    if len(frozen) != 1:
        names = ", ".join(type(part).__name__ for part in parts)
        raise ValueError(
            f"A feature cache needs one frozen backbone, but {len(frozen)} of {names} are frozen. "
            "Set frozen=true on it (trainable_layers=null), or leave train.feature_cache empty."
        )
    return frozen[0]


def check_augmentations(augmentations: list[Mapping[str, Any]]) -> None:
    """Refuse whatever makes a training image look different each time, but for a mirror.

    Raises:
        ValueError: there is such an augmentation.
    """
    for node in augmentations:
        name = str(node["_target_"]).rpartition(".")[2]
        if name not in REPEATABLE or node.get("vertical"):
            raise ValueError(
                f"The augmentation {name} changes images at random before the frozen backbone, so "
                f"their features cannot be kept. Leave it out (only {' and '.join(REPEATABLE)}, "
                "horizontal, may be there), or leave train.feature_cache empty."
            )
