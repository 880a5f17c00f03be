"""The whole ViM against the official code, loaded through the real loader."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from smalldet.backbones.vim import VisionMamba
from vim_golden import golden, relative_error, weights

TOLERANCE = 1e-4
SMALL = {"embed_dim": 32, "depth": 2, "pretrain_grid": 4}
FAMILY_A: dict[str, Any] = {}
FAMILY_B = {"class_token": "none", "rope": True, "divide_directions": False}
FAMILY_C = {"class_token": "first", "rope": True, "divide_directions": False}


def write_published(path: Path, state: dict[str, Tensor]) -> str:
    """A file in the container that the official trainer writes."""
    torch.save({"model": state, "args": argparse.Namespace(model="vim"), "epoch": 299}, path)
    return str(path)


def load(path: str, images: Tensor, **options: Any) -> VisionMamba:
    """A small frozen ViM for these images, with the weights of the file."""
    size = tuple(images.shape[-2:])
    model = VisionMamba(size, **SMALL, frozen=True, init_checkpoint=path, **options)
    model.load_pretrained()
    return model


def trace(model: VisionMamba, images: Tensor) -> dict[str, Tensor]:
    """The feature and both streams behind each block, images in a row."""
    parts: dict[str, list[Tensor]] = defaultdict(list)

    def note(name: str) -> Any:
        def hook(_module: Any, _inputs: Any, outputs: tuple[Tensor, Tensor]) -> None:
            for stream, tensor in zip(("hidden", "residual"), outputs, strict=True):
                parts[f"{name}_{stream}"].append(tensor)

        return hook

    hooks = [layer.register_forward_hook(note(f"block{i}")) for i, layer in enumerate(model.layers)]
    feature = model(images)["last_feat"]  # a frozen model takes one image at a time
    for hook in hooks:
        hook.remove()
    return {"last_feat": feature} | {name: torch.cat(tensors) for name, tensors in parts.items()}


def assert_equal_traces(seen: dict[str, Tensor], arrays: dict[str, Tensor]) -> None:
    blocks = [key for key in arrays if key.startswith("block")]
    assert len(blocks) == 4
    for key in [*blocks, *({"last_feat"} & arrays.keys())]:
        assert relative_error(seen[key], arrays[key]) < TOLERANCE, key


@pytest.mark.parametrize(
    ("name", "options"),
    [("vim_cls_midtok", FAMILY_A), ("vim_cls_firsttok_rope_nodiv", FAMILY_C)],
)
def test_official_classifiers(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    arrays = golden(name)
    path = write_published(tmp_path / "vim.pth", weights(arrays))
    model = load(path, arrays["image"], last_layer="add_norm", **options)
    seen = trace(model, arrays["image"])
    assert_equal_traces(seen, arrays)
    final = model.norm_f(seen["block1_hidden"] + seen["block1_residual"])
    assert relative_error(final, arrays["final_normed_sequence"]) < TOLERANCE
    state = weights(arrays)
    logits = final[:, model.class_slot] @ state["head.weight"].T + state["head.bias"]
    assert relative_error(logits, arrays["logits"]) < TOLERANCE


@pytest.mark.parametrize("place", ["ptgrid", "biggrid", "rect"])
@pytest.mark.parametrize("kept", [True, False])
def test_detection_features_of_family_a(kept: bool, place: str, tmp_path: Path) -> None:
    arrays = golden(f"vim_midtok_{'keepcls' if kept else 'dropcls'}_{place}")
    path = write_published(tmp_path / "vim.pth", weights(golden("vim_cls_midtok")))
    options = {"class_token": "middle" if kept else "none"}
    model = load(path, arrays["image"], **options)
    assert relative_error(model.tokens(arrays["image"]), arrays["tokens_in"]) < 1e-5
    seen = trace(model, arrays["image"])
    assert_equal_traces(seen, arrays)
    assert relative_error(seen["last_feat"], arrays["feat_add"]) < TOLERANCE
    normed = load(path, arrays["image"], last_layer="add_norm", **options)(arrays["image"])
    assert relative_error(normed["last_feat"], arrays["feat_add_norm"]) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "averaged", "last_layer"),
    [
        ("vimdet_rope_add_nodiv_biggrid", False, "add"),
        ("vimdet_rope_add_ptgrid", True, "add"),
        ("vimdet_rope_add_biggrid", True, "add"),
        ("vimdet_rope_none_biggrid", True, "none"),
    ],
)
def test_detection_features_of_family_b(
    name: str, averaged: bool, last_layer: str, tmp_path: Path
) -> None:
    arrays = golden(name)
    checkpoint = weights(golden("vimdet_rope_checkpoint"), "ckpt.")
    path = write_published(tmp_path / "vim.pth", checkpoint)
    model = load(path, arrays["image"], last_layer=last_layer, **FAMILY_B)
    assert relative_error(model.pos_embed, arrays["sd.pos_embed"]) < 1e-5
    assert_equals_rope_tables(model, arrays)
    for layer in model.layers:  # today's official code averages what its detector had summed
        layer.mixer.divide_directions = averaged
    assert_equal_traces(trace(model, arrays["image"]), arrays)


def test_detection_features_of_family_c(tmp_path: Path) -> None:
    """The official detector leaves the class token out."""
    arrays = golden("vimdet_firsttok_rope_add_nodiv_biggrid")
    checkpoint = weights(golden("vim_cls_firsttok_rope_nodiv"))
    path = write_published(tmp_path / "vim.pth", checkpoint)
    model = load(path, arrays["image"], **(FAMILY_C | {"class_token": "none"}))
    assert relative_error(model.pos_embed, arrays["sd.pos_embed"]) < 1e-5
    assert_equals_rope_tables(model, arrays)
    assert_equal_traces(trace(model, arrays["image"]), arrays)


def assert_equals_rope_tables(model: VisionMamba, arrays: dict[str, Tensor]) -> None:
    for table, key in ((model.rope_cos, "cos"), (model.rope_sin, "sin")):
        want = arrays[f"sd.rope.freqs_{key}"]
        assert relative_error(table.repeat_interleave(2, -1), want) < 1e-5
