"""Reading published ViM files: families, containers, hostile files, error sentences."""

from __future__ import annotations

import argparse
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from in_process import call
from smalldet.backbones.vim import VisionMamba
from smalldet.backbones.vim.checkpoint import load_vim_checkpoint, resize_positions
from smalldet.backbones.vim.random_checkpoint import write_random_checkpoint
from smalldet.backbones.weight_files import CheckpointError, read_checkpoint
from vim_golden import GOLDEN, golden, relative_error

SIDE = 14


def small(img_size: Any = 64, **options: Any) -> VisionMamba:
    return VisionMamba(img_size, **({"embed_dim": 16, "depth": 2} | options))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ckpts") / "vim.pth"
    return write_random_checkpoint(path, depth=2, embed_dim=16, seed=3)


@pytest.fixture
def tensors(published: Path) -> dict[str, Tensor]:
    return torch.load(published, weights_only=False)["model"]


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def family_tensors(tensors: dict[str, Tensor], family: str) -> dict[str, Tensor]:
    """The same weights in the keys of another family."""
    tables = {f"rope.freqs_{kind}": torch.zeros(SIDE**2, 16) for kind in ("cos", "sin")}
    if family == "B":
        tensors = {k: v for k, v in tensors.items() if k != "cls_token"}
        tensors["pos_embed"] = tensors["pos_embed"][:, 1:]
    return tensors if family == "A" else tensors | tables


FAMILY_OPTIONS: dict[str, dict[str, Any]] = {
    "A": {},
    "B": {"class_token": "none", "rope": True, "divide_directions": False},
    "C": {"class_token": "first", "rope": True, "divide_directions": False},
}


def test_resizing_positions_equals_the_official_one() -> None:
    arrays = golden("posembed_interp")
    got = resize_positions(arrays["pos"], tuple(arrays["hw"].tolist()))
    assert relative_error(got, arrays["out"]) < 1e-5


def test_the_generated_file_has_the_published_layout(tmp_path: Path) -> None:
    done = call("tools/make_vim_checkpoint.py", tmp_path / "ckpts" / "vim.pth", "--seed", 1)
    assert done.returncode == 0 and "wrote" in done.stdout
    content = torch.load(tmp_path / "ckpts" / "vim.pth", weights_only=False)
    official = json.loads((GOLDEN / "vim_tiny_shapes.json").read_text())["classifier_224"]
    assert {k: list(v.shape) for k, v in content["model"].items()} == official["shapes"]
    assert len(content["model"]) == 415
    assert sum(v.numel() for v in content["model"].values()) == official["n_params"] == 7_148_008
    assert isinstance(content["args"], argparse.Namespace)
    model = VisionMamba(640, frozen=True)
    report = load_vim_checkpoint(model, tmp_path / "ckpts" / "vim.pth")
    assert report is not None
    assert (len(report.loaded), report.missing) == (412, ())
    assert report.dropped == ("head.bias", "head.weight", "norm_f.weight")


def test_generating_depends_on_the_seed_only(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    path = write_random_checkpoint(tmp_path / "again.pth", depth=2, embed_dim=16, seed=3)
    assert torch.equal(torch.rand(3), expected)
    again = read_checkpoint(path, "weights", "")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    assert [file.name for file in tmp_path.iterdir()] == ["again.pth"]


@pytest.mark.parametrize("container", ["model", "model_ema", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_container_gives_the_same_weights(
    container: str | None, prefix: str, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    state = {prefix + name: value for name, value in tensors.items()}
    content = state if container is None else {container: state, "epoch": 3, "optimizer": {}}
    model = small(init_checkpoint=str(save(tmp_path / "vim.pth", content)))
    model.load_pretrained()
    for name, value in model.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(value, tensors[name]), name


def test_the_report_is_one_line_in_the_log(published: Path, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="smalldet"):
        report = load_vim_checkpoint(small((64, 96)), published)
    assert [record.message for record in caplog.records] == [str(report)]
    for part in (
        "family A (class token in the middle, no rope), directions averaged",
        "pos_embed 14x14 -> 4x6; loaded 38 of 38 tensors; missing nothing",
        "dropped head.bias, head.weight, norm_f.weight",
    ):
        assert part in str(report)


def test_no_file_name_keeps_random_weights_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = small(init_checkpoint="")
    before = model.pos_embed.clone()
    with caplog.at_level(logging.INFO, logger="smalldet"):
        model.load_pretrained()
    assert torch.equal(model.pos_embed, before)
    assert "random weights" in caplog.text


@pytest.mark.parametrize(("family", "slot"), [("A", SIDE**2 // 2), ("B", None), ("C", 0)])
@pytest.mark.parametrize("kept", [True, False])
def test_the_class_slot_is_taken_from_where_its_family_has_it(
    family: str, slot: int | None, kept: bool, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    """At the pretraining grid, each patch keeps exactly its own row."""
    state = family_tensors(tensors, family)
    options = FAMILY_OPTIONS[family] | ({} if kept else {"class_token": "none"})
    model = small(SIDE * 16, **options)
    load_vim_checkpoint(model, save(tmp_path / "vim.pth", {"model": state}))
    rows = list(range(state["pos_embed"].shape[1]))
    if slot is not None and not kept:
        rows.remove(slot)
    assert torch.equal(model.pos_embed, state["pos_embed"][:, rows])
    assert model.class_slot == (slot if kept else None)


@pytest.mark.parametrize("family", FAMILY_OPTIONS)
@pytest.mark.parametrize("configured", FAMILY_OPTIONS)
def test_a_configuration_that_contradicts_the_file_is_an_error(
    family: str, configured: str, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    path = save(tmp_path / "vim.pth", {"model": family_tensors(tensors, family)})
    model = small(**FAMILY_OPTIONS[configured])
    if (family, configured) in (("A", "A"), ("B", "B"), ("C", "C"), ("C", "B")):
        assert load_vim_checkpoint(model, path)  # B's options are C's without its class token
        return
    with pytest.raises(CheckpointError) as error:
        load_vim_checkpoint(model, path)
    settings = str(error.value).split("set ")[1].split()
    chosen = {
        key.removeprefix("model.backbone.bottom_up."): value
        for key, value in (setting.split("=") for setting in settings)
    }
    fixed = {k: {"true": True, "false": False}.get(v, v) for k, v in chosen.items()}
    assert load_vim_checkpoint(small(**(FAMILY_OPTIONS[configured] | fixed)), path)


def test_rope_of_another_pretraining_grid_is_an_error(tmp_path: Path, tensors) -> None:
    path = save(tmp_path / "vim.pth", {"model": family_tensors(tensors, "B")})
    with pytest.raises(CheckpointError, match=r"set model.backbone.bottom_up.pretrain_grid=14"):
        load_vim_checkpoint(small(**FAMILY_OPTIONS["B"], pretrain_grid=27), path)


def test_a_missing_file_says_where_to_get_it_and_how_to_go_without(tmp_path: Path) -> None:
    model = small(init_checkpoint=str(tmp_path / "none.pth"))
    with pytest.raises(FileNotFoundError, match=r"vim_t_midclstok_76p1acc\.pth") as error:
        model.load_pretrained()
    assert "hustvl/Vim-tiny-midclstok" in str(error.value)
    assert 'model.backbone.bottom_up.init_checkpoint=""' in str(error.value)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, (f"open({str(self.trace)!r}, 'w').close()",)


def test_files_of_other_kinds_or_cut_short_are_refused(published: Path, tmp_path: Path) -> None:
    for content in [
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        b"<!DOCTYPE html><html>not found</html>",
        b"PK\x03\x04" + bytes(100),
        pickle.dumps({"model": object}, protocol=2),
        published.read_bytes()[:-1000],
    ]:
        (tmp_path / "vim.pth").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"cannot be read .* damaged or incomplete"):
            load_vim_checkpoint(small(), tmp_path / "vim.pth")


def test_no_code_of_a_file_is_run(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    trace = tmp_path / "trace"
    torch.save({"model": tensors, "args": Bomb(trace)}, tmp_path / "vim.pth")
    with pytest.raises(CheckpointError, match="refused because they could run foreign code"):
        load_vim_checkpoint(small(), tmp_path / "vim.pth")
    assert not trace.exists()
    torch.load(tmp_path / "vim.pth", weights_only=False)
    assert trace.exists()  # the bomb was live


def change(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda tensors: tensors | {name: value}


def without(*parts: str) -> Callable[[dict[str, Any]], object]:
    return lambda tensors: {k: v for k, v in tensors.items() if not any(p in k for p in parts)}


@pytest.mark.parametrize(
    ("mutilate", "message"),
    [
        (lambda tensors: [1, 2], "holds list with keys nothing, but expected were tensors by name"),
        (lambda tensors: {"model": {}, "epoch": 1}, "holds dict with keys model, epoch"),
        (lambda tensors: next(iter(tensors.values())), "holds Tensor"),
        (change("layers.0.mixer.D", 3), "entries that are no tensors: layers.0.mixer.D"),
        (without("A_b_log"), r"not a bidirectional ViM.* holds cls_token, head.bias"),
        (without("pos_embed"), "lacks pos_embed"),
        (without("cls_token"), "neither cls_token nor rope tables"),
        (change("pos_embed", torch.zeros(1, 196, 16)), "leaves 195 patches: not a square grid"),
        (change("pos_embed", torch.zeros(1, 1, 16)), "leaves 0 patches"),
        (change("pos_embed", torch.zeros(197, 16)), "lacks pos_embed"),
        (change("layers.1.norm.weight", torch.full((16,), torch.nan)), "layers.1.norm.weight that"),
        (change("pos_embed", torch.full((1, 197, 16), torch.inf)), "in pos_embed that are not fin"),
        (change("layers.1.norm.weight", torch.ones(16, dtype=torch.long)), "not finite floating"),
        (change("layers.1.mixer.gamma", torch.ones(16)), r"layers.1.mixer.gamma, which this back"),
        (without("layers.1."), r"covers only 21 of .* 38 .*at least 95% must match.*depth"),
        (without("x_proj", "norm.w"), "covers only 32 of the model's 38 tensors"),
    ],
)
def test_mutilated_weights_are_refused_and_nothing_is_loaded(
    mutilate, message: str, tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    torch.save(mutilate(tensors), tmp_path / "vim.pth")
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_vim_checkpoint(model, tmp_path / "vim.pth")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_vim_of_another_width_is_refused(tmp_path: Path) -> None:
    path = write_random_checkpoint(tmp_path / "vim_small.pth", depth=2, embed_dim=32)
    with pytest.raises(CheckpointError, match=r"shape .*32.*, but this backbone needs .*another"):
        load_vim_checkpoint(small(), path)


def test_what_is_missing_deeper_or_of_stride_8_is_a_warning(tmp_path, tensors, caplog) -> None:
    path = write_random_checkpoint(tmp_path / "deep.pth", depth=3, embed_dim=16)
    report = load_vim_checkpoint(small(), path)
    assert sum(name.startswith("layers.2.") for name in report.dropped) == 17
    assert "and 11 more" in caplog.text
    path = save(tmp_path / "fine.pth", tensors | {"pos_embed": torch.zeros(1, 730, 16)})
    load_vim_checkpoint(small(), path)
    assert "27x27 positions, as fine-tuned at stride 8" in caplog.text
    del tensors["layers.1.norm.weight"]
    report = load_vim_checkpoint(small(), save(tmp_path / "few.pth", tensors))
    assert report.missing == ("layers.1.norm.weight",)
    assert "loaded 37 of 38 tensors" in caplog.text
    assert "missing layers.1.norm.weight" in caplog.text
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 3


def test_weights_in_half_precision_are_widened(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    halved = {name: value.bfloat16() for name, value in tensors.items()}
    model = small()
    load_vim_checkpoint(model, save(tmp_path / "vim.pth", halved))
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
