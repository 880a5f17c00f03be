"""Published RVT checkpoints: written in their container, loaded as a whole and in parts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from smalldet.backbones.rvt.checkpoint import load_rvt_checkpoint
from smalldet.backbones.rvt.model import MaxViTRNN
from smalldet.backbones.weight_files import CheckpointError

TINY = {"embed_dim": 4, "dim_head": 2, "partition_split": 1, "in_channels": 4}


class Alien:
    """Something that a foreign file may hold; ``made`` tells whether its code ran."""

    made = 0

    def __setstate__(self, state: Any) -> None:
        Alien.made += 1


class ToyDetector(nn.Module):
    """Has the names of our detector: a neck around the backbone, and a head."""

    def __init__(self, seed: int, classes: int = 3, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone, self.head = nn.Module(), nn.Module()
        self.backbone.bottom_up = MaxViTRNN(**{**TINY, **options})
        self.backbone.lateral_conv0 = nn.BatchNorm2d(4)
        self.head.cls_preds = nn.ModuleList([nn.Conv2d(4, classes, 1)])
        self.head.obj_preds = nn.ModuleList([nn.Conv2d(4, 1, 1)])


def published_weights(model: ToyDetector) -> dict[str, Tensor]:
    """The state dict under the official names."""
    parts = {"mdl.backbone": model.backbone.bottom_up, "mdl.yolox_head": model.head}
    parts["mdl.fpn.lateral_conv0"] = model.backbone.lateral_conv0
    states = {prefix: module.state_dict() for prefix, module in parts.items()}
    return {f"{prefix}.{k}": x for prefix, state in states.items() for k, x in state.items()}


def write_published(path: Path, state: dict[str, Tensor]) -> Path:
    """A file as PyTorch-Lightning writes it, with a trained optimizer and a scheduler's method."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=9)
    content = {
        "epoch": 3,
        "global_step": 400_000,
        "pytorch-lightning_version": "1.8.6",
        "state_dict": state,
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [{**scheduler.state_dict(), "anneal_func": scheduler.step}],
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.4), "x": Alien()}},
    }
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def donor() -> ToyDetector:
    return ToyDetector(seed=1)


@pytest.fixture(scope="module")
def published(donor: ToyDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("rvt") / "rvt.ckpt", published_weights(donor))


def assert_equal_weights(model: nn.Module, donor: nn.Module) -> None:
    wanted = donor.state_dict()
    assert all(torch.equal(x, wanted[name]) for name, x in model.state_dict().items())


def test_the_configured_backbone_loads_its_part(published: Path, donor: ToyDetector, caplog: Any):
    model = MaxViTRNN(**TINY, init_checkpoint=str(published))
    with caplog.at_level(logging.INFO):
        model.load_pretrained()
    assert_equal_weights(model, donor.backbone.bottom_up)
    assert load_rvt_checkpoint(model, "") is None  # no path keeps the weights
    count = len(model.state_dict())
    assert f"loaded {count} of {count} tensors; missing nothing" in caplog.text
    assert "dropped fpn.lateral_conv0.bias" in caplog.text
    x = torch.randint(0, 3, (1, 4, 64, 64), dtype=torch.uint8)
    assert torch.equal(model(x)["stage4"], donor.backbone.bottom_up(x)["stage4"])


def test_a_whole_detector_loads_and_foreign_objects_are_never_made(published, donor):
    model, Alien.made = ToyDetector(seed=2), 0
    report = load_rvt_checkpoint(model, published)
    assert Alien.made == 0
    assert_equal_weights(model, donor)
    assert report is not None and (report.missing, report.dropped) == ((), ())
    assert "backbone.lateral_conv0.running_mean" in report.loaded
    assert "\n" not in str(report)


def test_other_classes_leave_the_class_layers_random(published: Path, donor: ToyDetector):
    model = ToyDetector(seed=2, classes=8)
    kept = model.head.cls_preds[0].weight.clone()
    report = load_rvt_checkpoint(model, published)
    assert report is not None
    assert report.unfit == ("head.cls_preds.0.bias", "head.cls_preds.0.weight")
    assert torch.equal(model.head.cls_preds[0].weight, kept)
    assert_equal_weights(model.head.obj_preds, donor.head.obj_preds)


def test_new_parts_do_not_count_as_missing(published: Path):
    model = ToyDetector(seed=2)
    model.backbone.finer = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(8))
    with pytest.raises(CheckpointError, match=r"at least 95% must match"):
        load_rvt_checkpoint(model, published)
    report = load_rvt_checkpoint(model, published, new=["backbone.finer."])
    assert report is not None and len(report.new) == 40 and report.missing == ()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patch_size": 2}, r"kernel of 7, as with patch_size=4"),
        ({"embed_dim": 8}, r"embed_dim=4 and in_channels=4, and this model 8 and 4"),
        ({"num_blocks": (1, 2, 2, 2)}, r"covers only .* at least 95%"),
    ],
)
def test_another_model_is_refused(published: Path, options: dict[str, Any], sentence: str):
    model = ToyDetector(seed=2, **options)
    before = {name: x.clone() for name, x in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=sentence):
        load_rvt_checkpoint(model, published)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_unusable_files_are_refused(tmp_path: Path, donor: ToyDetector):
    (tmp_path / "text.ckpt").write_text("Not Found")
    torch.save({"model": donor.state_dict()}, tmp_path / "own.ckpt")
    broken = {"mdl.fpn.lateral_conv0.weight": torch.full((4,), torch.nan)}
    write_published(tmp_path / "nan.ckpt", published_weights(donor) | broken)
    for name, error, sentence in [
        ("absent", FileNotFoundError, "no RVT weights at"),
        ("text", CheckpointError, "cannot be read"),
        ("own", CheckpointError, r"train\.init_checkpoint"),
        ("nan", CheckpointError, "not finite"),
    ]:
        with pytest.raises(error, match=sentence):
            load_rvt_checkpoint(ToyDetector(seed=2), tmp_path / f"{name}.ckpt")
