"""Files that are no ViM weights, or not whole: refused with a sentence, never half loaded."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from smalldet.backbones.vim import VisionMamba
from smalldet.backbones.vim.checkpoint import load_vim_checkpoint
from smalldet.backbones.vim.random_checkpoint import write_random_checkpoint
from smalldet.backbones.weight_files import CheckpointError, read_checkpoint


def small() -> VisionMamba:
    return VisionMamba(64, embed_dim=16, depth=2)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ckpts") / "vim.pth"
    return write_random_checkpoint(path, depth=2, embed_dim=16)


@pytest.fixture
def tensors(published: Path) -> dict[str, Tensor]:
    return read_checkpoint(published, "weights", "")


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, (f"open({str(self.trace)!r}, 'w').close()",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        b"<!DOCTYPE html><html>not found</html>",
        b"PK\x03\x04" + bytes(100),
        pickle.dumps({"model": object}, protocol=2),
    ],
)
def test_files_of_other_kinds_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vim.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as a PyTorch weight file"):
        load_vim_checkpoint(small(), path)


def test_a_file_cut_short_is_refused(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "vim.pth"
    path.write_bytes(published.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="damaged or incomplete"):
        load_vim_checkpoint(small(), path)


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
        (without("x_proj", "norm.w"), "covers only 32 of the backbone's 38 tensors"),
    ],
)
def test_mutilated_weights_are_refused_and_nothing_is_loaded(
    mutilate: Callable[[dict[str, Tensor]], object],
    message: str,
    tmp_path: Path,
    tensors: dict[str, Tensor],
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


def test_a_few_missing_tensors_are_a_warning_with_their_names(
    tmp_path: Path, tensors: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    del tensors["layers.1.norm.weight"]
    torch.save(tensors, tmp_path / "vim.pth")
    with caplog.at_level(logging.WARNING, logger="smalldet"):
        report = load_vim_checkpoint(small(), tmp_path / "vim.pth")
    assert report is not None
    assert report.missing == ("layers.1.norm.weight",)
    assert "loaded 37 of 38 tensors" in caplog.text
    assert "missing layers.1.norm.weight" in caplog.text


def test_a_deeper_file_is_cut_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_random_checkpoint(tmp_path / "vim.pth", depth=3, embed_dim=16)
    with caplog.at_level(logging.WARNING, logger="smalldet"):
        report = load_vim_checkpoint(small(), path)
    assert report is not None
    assert sum(name.startswith("layers.2.") for name in report.dropped) == 17
    assert "and 14 more" in caplog.text


def test_positions_of_stride_8_are_warned_about(
    tmp_path: Path, tensors: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(tensors | {"pos_embed": torch.zeros(1, 730, 16)}, tmp_path / "vim.pth")
    load_vim_checkpoint(small(), tmp_path / "vim.pth")
    assert "27x27 positions, as fine-tuned at stride 8" in caplog.text


def test_weights_in_half_precision_are_widened(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    torch.save({name: value.bfloat16() for name, value in tensors.items()}, tmp_path / "vim.pth")
    model = small()
    load_vim_checkpoint(model, tmp_path / "vim.pth")
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
