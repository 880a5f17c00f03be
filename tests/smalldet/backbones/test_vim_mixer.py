"""Convolution and bidirectional mixer of ViM against the official code."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from smalldet.backbones.vim.blocks import BidirectionalMixer
from smalldet.kernels.causal_conv import causal_conv1d
from vim_golden import golden, relative_error, weights


def build(arrays: dict[str, Tensor], backend: str = "auto") -> BidirectionalMixer:
    mixer = BidirectionalMixer(
        arrays["x"].shape[-1], int(arrays["d_state"]), bool(arrays["if_divide_out"]), backend
    )
    mixer.load_state_dict(weights(arrays))
    return mixer


def test_official_convolution() -> None:
    arrays = golden("causal_conv1d")
    out = causal_conv1d(arrays["x"].mT, arrays["weight"][:, None], arrays["bias"]).mT
    assert relative_error(out, arrays["out_noact"]) < 1e-5
    assert relative_error(F.silu(out), arrays["out_silu"]) < 1e-5


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("name", ["mixer_v2_div2", "mixer_v2_nodiv", "mixer_v2_L1"])
def test_official_mixer(name: str, backend: str) -> None:
    arrays = golden(name)
    assert relative_error(build(arrays, backend)(arrays["x"]), arrays["out"]) < 1e-5


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_official_mixer_gradients(backend: str) -> None:
    arrays = golden("mixer_v2_div2")
    mixer, x = build(arrays, backend), arrays["x"].requires_grad_()
    mixer(x).backward(arrays["dout"])
    assert relative_error(x.grad, arrays["grad_x"]) < 1e-5
    gradients = weights(arrays, "grad.")
    assert set(gradients) == {name for name, _ in mixer.named_parameters()}
    for name, parameter in mixer.named_parameters():
        assert relative_error(parameter.grad, gradients[name]) < 1e-5, name


def test_swapping_the_directions_mirrors_the_sequence() -> None:
    arrays = golden("mixer_v2_div2")
    mixer, mirrored = build(arrays), build(arrays)
    state = mixer.state_dict()
    swapped = {k.replace("A_log", "A_b_log"): v for k, v in state.items() if k == "A_log"}
    for name in ("conv1d.weight", "conv1d.bias", "x_proj.weight", "dt_proj.weight", "dt_proj.bias"):
        layer, kind = name.split(".")
        swapped |= {f"{layer}_b.{kind}": state[name], name: state[f"{layer}_b.{kind}"]}
    swapped |= {"A_log": state["A_b_log"], "D": state["D_b"], "D_b": state["D"]}
    mirrored.load_state_dict(state | swapped)
    torch.testing.assert_close(mirrored(arrays["x"].flip(1)).flip(1), mixer(arrays["x"]))


@torch.no_grad()
def test_initial_values_are_those_of_the_published_classifier() -> None:
    torch.manual_seed(0)
    mixer = BidirectionalMixer(192, 16, divide_directions=True)
    steps = F.softplus(mixer.dt_proj.bias)
    assert float(steps.min()) * 1.001 >= 1e-3
    assert float(steps.max()) <= 0.1 * 1.001
    assert abs(float(steps.log().mean()) - (-4.6)) < 0.3  # log-uniform: middle of log 0.001..0.1
    assert not mixer.dt_proj_b.bias.any()
    for projection in (mixer.dt_proj, mixer.dt_proj_b):
        assert 0.27 < float(projection.weight.abs().max()) <= 12**-0.5
    for log_rate in (mixer.A_log, mixer.A_b_log):
        torch.testing.assert_close(log_rate.exp(), torch.arange(1.0, 17.0).expand(384, 16))
    assert bool((mixer.D == 1).all()) and bool((mixer.D_b == 1).all())
