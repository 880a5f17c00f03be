"""ViM as a Detectron2 backbone: sizes, freezing, options, precision."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from detectron2.modeling import BACKBONE_REGISTRY
from torch import nn

from smalldet.backbones.vim import VisionMamba
from smalldet.engine.optim import parameter_groups
from smalldet.kernels.scan.backends import BACKENDS
from smalldet.kernels.scan.inputs import ScanBackend, ScanPair
from vim_golden import GOLDEN

SHAPES = json.loads((GOLDEN / "vim_tiny_shapes.json").read_text())


def small(img_size: Any = 64, **options: Any) -> VisionMamba:
    torch.manual_seed(0)
    return VisionMamba(img_size, **({"embed_dim": 16, "depth": 2} | options))


def shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def test_full_size_without_class_token_equals_the_official_detector() -> None:
    official = SHAPES["detector_640_rope"]
    model = VisionMamba(640, class_token="none", rope=True)
    expected = {k: v for k, v in official["shapes"].items() if not k.startswith("rope.")}
    assert shapes(model) == expected
    assert sum(p.numel() for p in model.parameters()) == official["n_params"] == 7_224_000


def test_full_size_by_default_keeps_the_class_token() -> None:
    model = VisionMamba(frozen=True)
    expected = SHAPES["classifier_224"]["shapes"] | {"pos_embed": [1, 1601, 192]}
    dropped = {"head.weight", "head.bias", "norm_f.weight"}
    assert shapes(model) == {k: v for k, v in expected.items() if k not in dropped}
    added = 2 * 192  # its embedding and its position
    assert sum(p.numel() for p in model.parameters()) == 7_224_000 + added
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_it_is_registered_and_declares_what_it_produces() -> None:
    model = BACKBONE_REGISTRY.get("VisionMamba")((32, 64), embed_dim=16, depth=1, out_feature="x")
    (name, shape), *others = model.output_shape().items()
    assert not others
    assert (name, shape.channels, shape.stride) == ("x", 16, 16)
    images = torch.randn(3, 3, 32, 64)
    assert model(images)["x"].shape == (3, 16, 2, 4)
    assert model.size_divisibility == 0
    features, state = model.step(images, "state")
    assert state == "state"
    assert torch.equal(features["x"], model(images)["x"])


@pytest.mark.parametrize("class_token", ["middle", "first", "none"])
@pytest.mark.parametrize("rope", [True, False])
def test_images_of_a_batch_do_not_mix_and_odd_grids_work(class_token: str, rope: bool) -> None:
    model = small((48, 80), class_token=class_token, rope=rope, pretrain_grid=3).eval()
    images = torch.randn(2, 3, 48, 80)
    both = model(images)["last_feat"]
    torch.testing.assert_close(both[1:], model(images[1:])["last_feat"])
    assert both.shape == (2, 16, 3, 5)


def test_the_class_token_is_passed_on_by_the_scans_but_not_given_out() -> None:
    model = small().eval()
    images = torch.randn(1, 3, 64, 64)
    before = model(images)["last_feat"]
    with torch.no_grad():
        model.cls_token += 1.0
    after = model(images)["last_feat"]
    assert before.shape == after.shape == (1, 16, 4, 4)
    assert (before != after).flatten(1).float().mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"img_size": 100}, "100x100 .* cannot be cut into patches of 16"),
        ({"img_size": (64, 0)}, "cannot be cut into patches"),
        ({"class_token": "last"}, "class_token='last' is unknown; choose one of middle, first"),
        ({"last_layer": "norm"}, "last_layer='norm' is unknown"),
        ({"depth": 0}, "at least one block"),
        ({"trainable_layers": 0}, "of 2 blocks; expected 1 to 2. For none of them set frozen=true"),
        ({"trainable_layers": 3}, "of 2 blocks; expected 1 to 2"),
        ({"trainable_layers": 1, "frozen": True}, "Set frozen=false, or trainable_layers=null"),
        ({"scan_backend": "fast"}, "no selective-scan backend 'fast'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_images_of_another_size_are_refused() -> None:
    for shape in ((1, 3, 64, 48), (1, 3, 32, 64), (3, 64, 64)):
        with pytest.raises(ValueError, match=r"takes images of 64x64 pixels .* got a batch of"):
            small()(torch.zeros(shape))


def test_training_changes_no_byte_of_a_frozen_backbone() -> None:
    model = nn.Sequential()
    model.backbone = small(frozen=True)
    model.head = nn.Conv2d(16, 1, 1)
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1)
    model.train()
    assert not any(module.training for module in model.backbone.modules())
    for _ in range(2):
        features = model.backbone(torch.randn(2, 3, 64, 64))["last_feat"]
        assert not features.requires_grad
        model.head(features).square().mean().backward()
        optimizer.step()
    assert len(parameters) == 2
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("options", [{}, {"last_layer": "add_norm", "rope": True}])
def test_every_parameter_of_a_trained_backbone_gets_a_gradient(options: dict[str, Any]) -> None:
    model = small(**options)
    model(torch.randn(1, 3, 64, 64))["last_feat"].square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), name


@pytest.mark.parametrize("last_layer", ["add", "add_norm"])
def test_of_the_last_blocks_alone_all_is_trained(last_layer: str) -> None:
    model = small(depth=3, last_layer=last_layer, trainable_layers=2).train()
    whole = small(depth=3, last_layer=last_layer)
    assert list(model.state_dict()) == list(whole.state_dict())
    before = {name: x.clone() for name, x in model.state_dict().items()}
    learning = {n for n in before if n.startswith(("layers.1.", "layers.2.", "norm_f."))}
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=0.1, weight_decay=0.1)
    images = torch.randn(1, 3, 64, 64)
    features = model(images)["last_feat"]
    torch.testing.assert_close(features, whole(images)["last_feat"])
    features.square().mean().backward()
    optimizer.step()
    given = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, p in model.named_parameters() if id(p) in given} == learning
    after = model.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == learning


def test_what_is_kept_of_a_weight_is_made_again_once_it_has_learned() -> None:
    model, images = small(trainable_layers=1), torch.randn(1, 3, 64, 64)
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.1)
    for _ in range(2):
        with torch.no_grad():
            model(images)
        model(images)["last_feat"].square().mean().backward()
        optimizer.step()
    fresh = small()
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(images), fresh(images), rtol=0, atol=0)


@pytest.mark.parametrize("backend", ["auto", "chunked", "reference"])
def test_frozen_blocks_keep_no_activations(backend: str) -> None:
    def kept(**options: Any) -> int:
        """Bytes that wait for the backward pass."""
        model, sizes = small(scan_backend=backend, **options), []
        weights = {p.data_ptr() for p in model.parameters()}

        def pack(x: torch.Tensor) -> torch.Tensor:
            sizes.append(0 if x.data_ptr() in weights else x.nbytes)
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            model(torch.randn(1, 3, 64, 64))
        return sum(sizes)

    one = kept(depth=1, trainable_layers=1)
    assert 0 < one == kept(depth=4, trainable_layers=1)
    assert kept(depth=4) > 3 * one


def test_bfloat16_autocast_keeps_scan_and_residual_in_float32(monkeypatch) -> None:
    seen = []
    chunked = BACKENDS["chunked"]

    def spy(pair: ScanPair) -> torch.Tensor:
        tensors = (*pair.ahead, *pair.back, pair.z)
        seen.extend(tensor.dtype for tensor in tensors if isinstance(tensor, torch.Tensor))
        return chunked.pair(pair)

    monkeypatch.setitem(BACKENDS, "chunked", ScanBackend(chunked.scan, spy))
    model = small(frozen=True, scan_backend="chunked")
    images = torch.randn(1, 3, 64, 64)
    exact = model(images)["last_feat"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(images)["last_feat"]
    assert set(seen) == {torch.float32}
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)


@torch.no_grad()
def test_initial_values_are_those_of_the_published_classifier() -> None:
    torch.manual_seed(0)
    model = VisionMamba(224, depth=4)
    patches = model.patch_embed.proj
    assert abs(float(patches.weight.std()) * 768**0.5 - 1) < 0.02
    assert not patches.bias.any()
    for token in (model.pos_embed, model.cls_token):
        assert abs(float(token.std()) / 0.02 - 1) < 0.15
    for layer in model.layers:
        bound = 384**-0.5 / 4**0.5
        assert 0.99 * bound < float(layer.mixer.out_proj.weight.abs().max()) <= bound
        assert bool((layer.norm.weight == 1).all())


@pytest.mark.slow
def test_full_size_backends_agree() -> None:
    images = torch.randn(1, 3, 640, 640)
    model = VisionMamba(frozen=True)
    fast = model(images)["last_feat"]
    for layer in model.layers:
        layer.mixer.scan_backend = "reference"
    plain = model(images)["last_feat"]
    assert float((fast - plain).abs().max() / plain.abs().max()) < 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("autocast", [False, True])
def test_features_on_a_gpu_are_those_on_the_cpu(autocast: bool) -> None:
    model = small((64, 96), rope=True)
    images = torch.randn(2, 3, 64, 96)
    want = model(images)["last_feat"]
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
        got = model.cuda()(images.cuda())["last_feat"]
    got.square().mean().backward()
    assert got.dtype == torch.float32
    assert float((got.cpu() - want).abs().max() / want.abs().max()) < (0.05 if autocast else 1e-3)
