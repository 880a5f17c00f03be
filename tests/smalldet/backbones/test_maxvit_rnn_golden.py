"""The MaxViT-RNN backbone against the official RVT code, step by step, with and without resets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.kernels import count_conv, feed_forward, group_attention, lstm_update, winograd
from smalldet.layers.partition_attention import AttentionOptions
from smalldet.layers.recurrent_state import reset_state
from toy_detection import GOLDEN, relative_error, rvt_golden, state_of

TOLERANCE = 1e-4
NAMES = sorted(path.stem for path in (GOLDEN / "rvt").glob("backbone_*.npz"))
# Official options that change no number: dead, unused here, or about another part.
IGNORED = {"T_max_chrono_init", "compile", "name", "in_res_hw", "drop_mlp", "drop_path"}


def ours(config: dict[str, Any]) -> MaxViTRNN:
    """Our backbone with the official configuration; an option that we do not know fails."""
    stage, attention = config["stage"], dict(config["stage"]["attention"])
    for name in ("partition_size", "drop_mlp", "drop_path"):
        attention.pop(name)
    lstm = {k: v for k, v in stage["lstm"].items() if k != "drop_cell_update"}
    known = {"input_channels", "partition_split_32", "stage", "stem"} | IGNORED
    return MaxViTRNN(
        in_channels=config["input_channels"],
        partition_split=config["partition_split_32"],
        patch_size=config["stem"]["patch_size"],
        overlap=stage["downsample"]["overlap"],
        norm_affine=stage["downsample"]["norm_affine"],
        dim_head=attention.pop("dim_head"),
        attention=AttentionOptions(**attention),
        **lstm,
        **{k: v for k, v in config.items() if k not in known},
    )


def compare(arrays: dict[str, Tensor], t: int, features: dict[str, Tensor], state: Any) -> None:
    """All features of a step, and the cells where the file holds them."""
    for number, (hidden, cell) in enumerate(state, start=1):
        assert features[f"stage{number}"] is hidden
        assert relative_error(hidden, arrays[f"out/t{t}/stage{number}"]) < TOLERANCE, (t, number)
        if f"out/t{t}/cell{number}" in arrays:
            assert relative_error(cell, arrays[f"out/t{t}/cell{number}"]) < TOLERANCE, (t, number)


def test_all_files_are_here():
    assert len(NAMES) == 10


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_steps_equal_the_official_ones(name: str):
    meta, arrays = rvt_golden(name)
    model = ours(meta["config"]).eval()
    model.load_state_dict(state_of(arrays, "sd/"))
    declared = model.output_shape().values()
    assert [spec.channels for spec in declared] == meta["stage_dims"]
    assert [spec.stride for spec in declared] == meta["strides"]
    assert list(model.partition_size(arrays["in/x"].shape[-2:])) == meta["partition_size"]
    masks, state = arrays.get("in/token_mask"), None
    for t, x in enumerate(arrays["in/x"]):
        if t == meta["reset_step"]:
            state = reset_state(state, arrays["in/is_first_sample_last_step"])
        features, state = model.step(x, state, None if masks is None else masks[t])
        compare(arrays, t, features, state)


@pytest.mark.parametrize("name", ["backbone_p4_reset", "backbone_var_dws_hidden"])
def test_without_a_compiler_it_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch):
    for module in (count_conv, feed_forward, group_attention, lstm_update, winograd):
        monkeypatch.setattr(module.KERNEL, "why_absent", "not here")
        assert not module.KERNEL.available()
    test_steps_equal_the_official_ones(name)
