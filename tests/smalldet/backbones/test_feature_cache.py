"""Features of a frozen backbone on disk: the same numbers, and never those of something else."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from smalldet.backbones.feature_cache import FeatureCache, checksum
from smalldet.backbones.vim import VisionMamba


def vim(**settings) -> VisionMamba:
    torch.manual_seed(0)
    options = {"img_size": 64, "embed_dim": 32, "depth": 2, "frozen": True, **settings}
    return VisionMamba(**options)


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def cached(tmp_path, images):
    """A backbone whose cache holds ``images``."""
    backbone = vim()
    assert backbone.use_cache(tmp_path).add(images) == 3
    return backbone


def test_cached_features_have_the_same_bits_in_any_batch(cached, images):
    plain = vim()
    for rows in ([0, 1, 2], [2, 0], [1]):
        batch = images[rows]
        assert torch.equal(cached(batch)["last_feat"], plain(batch)["last_feat"])


def test_an_entry_is_computed_once(cached, images, monkeypatch):
    assert cached.cache.add(images) == 0
    files = list(cached.cache.folder.rglob("*.safetensors"))
    assert len(files) == 3
    cached(images)  # the first ones are compared
    monkeypatch.setattr(cached, "extract", lambda x: pytest.fail("computed again"))
    cached(images)


def test_half_precision_rounds_and_has_a_place_of_its_own(cached, images, tmp_path):
    exact = cached(images)["last_feat"]
    half = vim()
    half.use_cache(tmp_path, "fp16").add(images)
    rounded = half(images)["last_feat"]
    assert torch.equal(rounded, exact.half().float()) and not torch.equal(rounded, exact)


def test_another_backbone_has_another_address(tmp_path):
    assert checksum(vim()) == checksum(vim(scan_backend="reference", init_checkpoint="x.pth"))
    settings = [{"class_token": "first"}, {"divide_directions": False}, {"rope": True}, {}]
    assert len({FeatureCache(tmp_path, vim(**options)).folder for options in settings}) == 4


def test_other_weights_are_noticed_while_running(cached, images):
    folder = cached.cache.folder
    before = cached(images)["last_feat"]
    cached.load_state_dict({k: v + 1 for k, v in cached.state_dict().items()})
    assert cached.cache.folder != folder
    with torch.no_grad():
        assert not torch.equal(cached(images)["last_feat"], before)


def test_what_is_missing_is_an_error_in_training_only(cached, images):
    turned = images.flip(-2)
    with pytest.raises(ValueError, match="something before the backbone is random"):
        cached(turned)
    with torch.no_grad():
        assert torch.equal(cached(turned)["last_feat"], vim()(turned)["last_feat"])


def test_a_wrong_entry_is_found_at_start(cached, images, tmp_path):
    path = cached.cache._path(images[0])
    save_file({k: v + 1 for k, v in load_file(path).items()}, path)
    with pytest.raises(ValueError, match="does not hold what the backbone computes today"):
        cached(images)


def test_only_frozen_backbones_and_known_types(tmp_path):
    with pytest.raises(ValueError, match="Only a frozen backbone"):
        vim(frozen=False).use_cache(tmp_path)
    with pytest.raises(ValueError, match=r"a part of it.* \(trainable_layers=null\)"):
        vim(frozen=False, trainable_layers=1).use_cache(tmp_path)
    with pytest.raises(ValueError, match='not as "fp8"'):
        vim().use_cache(tmp_path, "fp8")
