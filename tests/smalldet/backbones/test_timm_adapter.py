"""timm models as backbones: declared shapes, weights files, freezing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import timm
import torch
from omegaconf import OmegaConf

from smalldet.backbones.timm import TimmBackbone
from smalldet.engine.build import load_pretrained
from smalldet.necks.simple_pyramid import SimpleFeaturePyramid

TINY_CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}
TINY_VIT = {"embed_dim": 24, "depth": 2, "num_heads": 2}
TINY_SWIN = {"embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2), "img_size": 64}


@pytest.fixture(autouse=True)
def seen_log(caplog):
    caplog.set_level(logging.INFO, logger="smalldet")


def convnext(**changes) -> TimmBackbone:
    return TimmBackbone("convnext_tiny", model_options=TINY_CONVNEXT, **changes)


@pytest.mark.parametrize(
    ("model", "indices", "options", "levels"),
    [
        ("resnet18", (1, 2, 3, 4), {}, ["stride4", "stride8", "stride16", "stride32"]),
        ("resnet18", (0, 4), {}, ["stride2", "stride32"]),
        ("convnext_tiny", None, TINY_CONVNEXT, ["stride4", "stride8", "stride16", "stride32"]),
        ("swin_tiny_patch4_window7_224", None, TINY_SWIN, ["stride4", "stride8"]),
        ("vit_tiny_patch16_224", (-1,), {**TINY_VIT, "img_size": (64, 64)}, ["stride16"]),
    ],
)
def test_declared_shapes_are_the_produced_ones(model, indices, options, levels):
    backbone = TimmBackbone(model, out_indices=indices, model_options=options)
    features = backbone(torch.randn(1, 3, 64, 64))
    assert list(features) == list(backbone.output_shape()) == levels
    for name, spec in backbone.output_shape().items():
        assert features[name].shape == (1, spec.channels, 64 // spec.stride, 64 // spec.stride)
    assert backbone.size_divisibility == int(levels[-1].removeprefix("stride"))


def test_a_vit_of_any_grid_goes_through_the_simple_pyramid():
    options = OmegaConf.create({**TINY_VIT, "dynamic_img_size": True})
    backbone = TimmBackbone(
        "vit_tiny_patch16_224", out_indices=OmegaConf.create([-1]), model_options=options
    )
    neck = SimpleFeaturePyramid(backbone, in_feature="stride16", out_channels=8)
    levels = neck(torch.randn(1, 3, 64, 96))
    assert levels["p2"].shape == (1, 8, 16, 24) and levels["p6"].shape == (1, 8, 1, 2)
    assert neck.size_divisibility == 16
    with pytest.raises(ValueError, match=r"several features of stride 16 .* out_indices"):
        TimmBackbone("vit_tiny_patch16_224", out_indices=(0, 1), model_options=TINY_VIT)


@pytest.mark.parametrize("container", [None, "model", "state_dict"])
def test_a_weights_file_of_the_whole_model_is_loaded(container, tmp_path: Path, caplog):
    whole = timm.create_model("convnext_tiny", **TINY_CONVNEXT)
    state = whole.state_dict()
    torch.save(state if container is None else {container: state}, tmp_path / "weights.pth")
    backbone = convnext(init_checkpoint=str(tmp_path / "weights.pth"))
    backbone.load_pretrained()
    count = len(backbone.state_dict())
    assert f"loaded {count} of {count} tensors; missing nothing" in caplog.text
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = whole.eval().forward_intermediates(images, intermediates_only=True)
        for found, feature in zip(backbone.eval()(images).values(), expected, strict=True):
            assert torch.allclose(found, feature, atol=1e-5)


def test_a_vit_of_another_grid_gets_its_positions_resized(tmp_path: Path, caplog):
    whole = timm.create_model("vit_tiny_patch16_224", **TINY_VIT)
    torch.save(whole.state_dict(), tmp_path / "vit.pth")
    backbone = TimmBackbone(
        "vit_tiny_patch16_224",
        out_indices=(-1,),
        model_options={**TINY_VIT, "img_size": (64, 96)},
        init_checkpoint=str(tmp_path / "vit.pth"),
    )
    backbone.load_pretrained()
    assert "missing nothing; of another shape nothing" in caplog.text
    found, given = backbone.body.state_dict(), whole.state_dict()
    resized = timm.layers.resample_abs_pos_embed(given["pos_embed"], [4, 6])
    assert torch.equal(found["model.pos_embed"], resized)
    assert torch.equal(found["model.blocks.1.mlp.fc2.weight"], given["blocks.1.mlp.fc2.weight"])


def test_a_file_of_the_model_s_authors_is_read_as_timm_does(tmp_path: Path, caplog):
    small = {"embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2), "img_size": 64}
    state = timm.create_model("swin_tiny_patch4_window7_224", **small).state_dict()
    old = {name.replace("layers.1.down", "layers.0.down"): x for name, x in state.items()}
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49).long()
    torch.save({"model": old}, tmp_path / "swin.pth")
    backbone = TimmBackbone(
        "swin_tiny_patch4_window7_224",
        model_options=small,
        init_checkpoint=str(tmp_path / "swin.pth"),
    )
    backbone.load_pretrained()
    assert "missing nothing; of another shape nothing" in caplog.text
    found = backbone.body.state_dict()
    (name,) = [name for name in found if name.endswith("downsample.reduction.weight")]
    assert torch.equal(found[name], state["layers.1.downsample.reduction.weight"])


@pytest.fixture()
def hub(monkeypatch) -> list[tuple]:
    """A hub that has a small ConvNeXt under any name; gives the requests, the weights first."""
    weights = timm.create_model("convnext_tiny", **TINY_CONVNEXT).state_dict()
    asked: list[tuple] = [(weights,)]

    def fetch(*page):
        asked.append(page)
        return dict(weights)

    monkeypatch.setattr(timm.models, "load_state_dict_from_hf", fetch)
    return asked


def test_weights_of_the_hub_are_fetched_once_and_only_if_asked_for(hub, tmp_path: Path):
    whole = timm.create_model("convnext_tiny", **TINY_CONVNEXT).eval()
    whole.load_state_dict(hub[0][0])
    images = torch.randn(1, 3, 64, 64)
    options = {"model_name": "convnext_tiny.fb_in1k", "model_options": TINY_CONVNEXT}
    TimmBackbone(**options).load_pretrained()
    backbone = TimmBackbone(**options, pretrained=True, frozen=True)
    assert len(hub) == 1
    backbone.load_pretrained()
    assert hub[1:] == [("timm/convnext_tiny.fb_in1k",)]
    with torch.no_grad():
        expected = whole.forward_intermediates(images, intermediates_only=True)
        for found, feature in zip(backbone(images).values(), expected, strict=True):
            assert torch.allclose(found, feature, atol=1e-5)
    torch.save(whole.state_dict(), tmp_path / "own.pth")
    own = TimmBackbone(**options, pretrained=True, init_checkpoint=str(tmp_path / "own.pth"))
    own.load_pretrained()
    assert len(hub) == 2, "a file that is named comes before the hub"


def test_without_a_network_a_sentence_says_what_to_do_and_doing_it_works(
    monkeypatch, tmp_path: Path
):
    def fail(*page):
        raise ConnectionError("no route\nto the host")

    monkeypatch.setattr(timm.models, "load_state_dict_from_hf", fail)
    backbone = convnext(pretrained=True)
    with pytest.raises(ValueError, match=r"ConnectionError: no route\)") as found:
        backbone.load_pretrained()
    said = str(found.value)
    assert "https://huggingface.co/timm/convnext_tiny" in said and "\n" not in said
    assert "bottom_up.init_checkpoint=FILE" in said and said.endswith("pretrained=false")
    state = timm.create_model("convnext_tiny", **TINY_CONVNEXT).state_dict()
    torch.save(state, tmp_path / "FILE")
    convnext(pretrained=True, init_checkpoint=str(tmp_path / "FILE")).load_pretrained()
    convnext(pretrained=False).load_pretrained()


def test_a_run_loads_the_adapter_s_weights_and_leaves_timm_s_own_loading_alone(tmp_path: Path):
    whole = timm.create_model("vit_tiny_patch16_224", **TINY_VIT)
    torch.save(whole.state_dict(), tmp_path / "vit.pth")
    backbone = TimmBackbone(
        "vit_tiny_patch16_224",
        out_indices=(-1,),
        model_options=TINY_VIT,
        init_checkpoint=str(tmp_path / "vit.pth"),
    )
    load_pretrained(SimpleFeaturePyramid(backbone, in_feature="stride16"), "")
    found = backbone.body.state_dict()["model.pos_embed"]
    assert torch.equal(found, whole.state_dict()["pos_embed"])


def test_a_model_without_published_weights_is_named(hub):
    with pytest.raises(ValueError, match=r"no weights of convnext_atto_rms\. Choose"):
        TimmBackbone("convnext_atto_rms", pretrained=True).load_pretrained()
    assert len(hub) == 1


def test_weights_without_batch_norm_counters_match_in_full(tmp_path: Path, caplog):
    state = timm.create_model("resnet18").state_dict()
    older = {name: x for name, x in state.items() if "num_batches" not in name}
    torch.save(older, tmp_path / "old.pth")
    backbone = TimmBackbone("resnet18", init_checkpoint=str(tmp_path / "old.pth"))
    backbone.load_pretrained()
    assert "loaded 100 of 100 tensors" in caplog.text


def test_files_that_do_not_fit_are_sentences(tmp_path: Path):
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "other.pth")
    backbone = convnext(init_checkpoint=str(tmp_path / "other.pth"))
    before = {name: x.clone() for name, x in backbone.state_dict().items()}
    with pytest.raises(ValueError, match=r"at least 95% must match\. Is this the file"):
        backbone.load_pretrained()
    assert all(torch.equal(x, before[name]) for name, x in backbone.state_dict().items())
    with pytest.raises(FileNotFoundError, match='run without pretraining: init_checkpoint=""'):
        convnext(init_checkpoint=str(tmp_path / "absent.pth")).load_pretrained()
    convnext().load_pretrained()


def test_frozen_and_frozen_batch_norm():
    frozen = convnext(frozen=True).train()
    assert not frozen.body.training
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not frozen(torch.randn(1, 3, 64, 64))["stride4"].requires_grad
    backbone = TimmBackbone("resnet18", out_indices=(1, 2), freeze_batch_norm=True).train()
    before = {name: x.clone() for name, x in backbone.named_buffers()}
    assert any("running_mean" in name for name in before)
    sum(x.sum() for x in backbone(torch.randn(2, 3, 64, 64)).values()).backward()
    assert all(torch.equal(x, before[name]) for name, x in backbone.named_buffers())
    assert not any("bn" in name for name, _ in backbone.named_parameters())
