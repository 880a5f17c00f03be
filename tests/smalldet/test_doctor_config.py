"""The doctor's look at a config and at a weight file: what it finds, and that its advice works."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

from console.main import main
from labbook.config.load import load_config, to_plain
from smalldet.backbones.vim.random_checkpoint import write_random_checkpoint
from smalldet.doctor.config import examine_config, learning_rate
from smalldet.doctor.weights import examine_weights
from smalldet.engine.build import build_model
from smalldet.engine.checkpoint import save_whole
from smalldet.engine.settings import read_settings

CONFIG = str(Path(__file__).resolve().parents[2] / "configs/examples/yolox_vim_tiny.py")
SMALL = [
    "dataset.generate={_target_: toydata.heads.GeneratedHeads, image_size: 96, train: 2, valid: 2, "
    "test: 2}",
    "dataloader.image_size=96",
    "dataloader.num_workers=0",
    "train.images=2",
    "train.total_batch_size=2",
    "train.device=cpu",
    "model.backbone.bottom_up={depth: 2, embed_dim: 32, init_checkpoint: ''}",
    "model.backbone.out_channels=32",
    "model.head.width=16",
]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> list[str]:
    """Overrides of a small config whose data set is painted once."""
    folder = tmp_path_factory.mktemp("doctor")
    return [*SMALL, f"dataset.root={folder / 'data'}", f"train.output_dir={folder / 'run'}"]


def config(*overrides: str):
    return to_plain(load_config(CONFIG, overrides))


def small_model(here, *overrides):
    cfg = config(*here, *overrides)
    return build_model(cfg, read_settings(cfg["train"]))


def test_a_sound_config_is_looked_at_to_the_end(here, capsys):
    assert main(["doctor", "config", CONFIG, *here]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["train", "model", "learning rate", "start weights", "data", "sizes of boxes"]
    assert [line[6:].split(":")[0] for line in lines] == [*names, "one step"]
    step = lines[-1]
    assert " s, " in step and "MiB, on cpu" in step and " h for " in step
    assert not Path(here[-1].partition("=")[2]).exists()  # nothing is left in the run folder
    for words in (["--no-step", CONFIG, *here], [CONFIG, "--no-step", *here]):
        assert main(["doctor", "config", *words]) == 0
        assert "one step" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "name", "found", "fix"),
    [
        ("train.images=5", "data", "counts on 5", "train.images=2"),
        ("model.head.num_classes=3", "data", "3 classes", "Set it to 1"),
        ("model.backbone.bottom_up.init_checkpoint=none.pth", "start weights", "none.pth", "save"),
        ("dataset.classes=[face]", "data", "face", "head"),
    ],
)
def test_what_would_end_training_is_red_with_its_remedy(here, override, name, found, fix):
    findings = examine_config(config(*here, override), takes_step=False)
    finding = findings[name]
    assert finding.level == "red" and "broken" not in finding.found
    assert found in finding.found + finding.fix and fix in finding.found + finding.fix


def test_an_error_in_the_step_is_a_finding_without_a_page_of_log(here, capsys):
    broken = config(*here)
    broken["dataloader"]["train"]["mapper"]["augmentations"] = [{"_target_": "builtins.object"}]
    finding = examine_config(broken)["one step"]
    assert finding.level == "red" and "report it" in finding.fix
    assert "Traceback" not in capsys.readouterr().err


def test_an_unknown_key_is_a_sentence(capsys):
    assert main(["doctor", "config", CONFIG, "train.imges=5"]) == 1
    assert "train.images" in capsys.readouterr().err


def test_advice_on_sizes_can_be_pasted(here):
    tiny = [*here, "dataloader.image_size=32"]
    finding = examine_config(config(*tiny), takes_step=False)["sizes of boxes"]
    assert finding.level == "yellow" and "strides 4, 8, 16, 32" in finding.found
    again = examine_config(config(*tiny, *shlex.split(finding.fix)), takes_step=False)
    assert again["sizes of boxes"].level == "green"


def test_the_learning_rate_is_that_of_the_schedule():
    cfg = config("train.max_iter=1000", "train.warmup_iters=100", "optimizer.lr=0.5")
    found = learning_rate(cfg, read_settings(cfg["train"])).found
    assert "0.5 at step 100," in found and "after 1,000 steps" in found


def test_a_checkpoint_of_a_run_fits_whole_or_is_red(here, tmp_path, capsys):
    path = tmp_path / "model.pth"
    save_whole({"model": small_model(here).state_dict()}, path)
    assert main(["doctor", "weights", str(path), CONFIG, *here]) == 0
    assert "tensors fit" in capsys.readouterr().out
    (finding,) = examine_weights(small_model(here, "model.head.width=24"), path).values()
    assert finding.level == "red" and "0 missing, 0 unknown" in finding.found
    assert "model.head" not in finding.found and "instead of" in finding.found
    (finding,) = examine_weights(
        small_model(here, "model.backbone.bottom_up.depth=3"), path
    ).values()
    assert finding.level == "red" and " 0 unknown, 0 of another shape" in finding.found


def test_published_weights_are_recognised_and_compared(here, tmp_path, caplog):
    path = write_random_checkpoint(tmp_path / "vim.pth", depth=2, embed_dim=32)
    findings = examine_weights(small_model(here), path)
    assert [*findings] == ["backbone.bottom_up"]
    finding = findings["backbone.bottom_up"]
    assert finding.level == "green" and "class token in the middle" in finding.found
    assert "loaded" in finding.found and not caplog.text
    deeper = small_model(here, "model.backbone.bottom_up.depth=9")
    assert examine_weights(deeper, path)["backbone.bottom_up"].level == "red"


def test_other_files_are_red(here, tmp_path):
    noise = tmp_path / "noise.pth"
    noise.write_bytes(b"noise")
    foreign = tmp_path / "foreign.pth"
    torch.save({"a": torch.zeros(2)}, foreign)
    for path in (noise, foreign, tmp_path / "absent.pth"):
        (finding,) = examine_weights(small_model(here), path).values()
        assert finding.level == "red" and "broken" not in finding.found
