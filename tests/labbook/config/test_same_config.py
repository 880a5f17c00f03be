"""A run goes on, or counts as done, only under the config that it was started with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labbook.config.load import ConfigError, load_config, save_config
from labbook.config.resume import check_same_config, config_changes, is_measured
from labbook.run.ledger import entry_of, write_entry
from runfolder.files import read_json
from runfolder.records import note_micro_batch, start_record
from runfolder.run import read_run

WriteConfig = Callable[..., Path]


@pytest.fixture
def path(write_config: WriteConfig, tmp_path: Path) -> Path:
    """A config whose run folder is ``tmp_path``."""
    path = write_config()
    save_config(load_config(path), tmp_path)
    return path


def test_what_does_not_change_the_measurement_is_allowed(path: Path, tmp_path: Path) -> None:
    words = ["train.epochs=100", "train.device=cpu", "train.output_dir=x", "experiment.level=other"]
    check_same_config(load_config(path, words), tmp_path)
    check_same_config(load_config(path, ["train.epochs=1"]), tmp_path / "empty")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("train.patience", True),
        ("train.amp.enabled", True),
        ("train.micro_batch_size", True),
        ("train.on_oom", False),
        ("model.device", True),  # not any key of that name
        ("lr_multiplier.period", True),
        ("model.backbone.bottom_up.init_checkpoint", True),
        ("train.checkpointer.period", False),
        ("dataloader.train.num_workers", False),
        ("dataloader.test.batch_size", False),
        ("dataloader.train.batch_size", True),
        ("evaluation.test.slices.night", False),
        ("dataloader.resize", False),  # the mappers' resize is
        ("dataloader.train.mapper.augmentations.0.shape", True),
        ("model.backbone.bottom_up.checkpoint", False),
    ],
)
def test_which_keys_identify_a_run(key: str, expected: bool) -> None:
    assert is_measured(key) is expected


def test_causes_are_named_and_followers_counted(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = load_config(path, ["train.batch=16", "train.micro_batch_size=2"])
    assert entry_of(cfg) != entry_of(load_config(path, ["train.batch=16"]))
    with pytest.raises(ConfigError) as caught:
        check_same_config(cfg, tmp_path)
    shown = "train.batch (there 8, now 16), train.micro_batch_size (there 1, now 2), 4 keys that"
    assert shown in str(caught.value)
    assert config_changes(cfg, tmp_path)["train.max_iter"] == (15900, 8000)
    with pytest.raises(ConfigError, match=r"differs in optimizer.lr \(there 0.001, now 0.5\)\. R"):
        check_same_config(load_config(path, ["optimizer.lr=0.5"]), tmp_path)
    monkeypatch.setenv("NO_SUCH_VARIABLE", "there")  # a change from outside
    with pytest.raises(ConfigError, match=r"differs in dataset.root \(there 'here/coco'.*, 2 keys"):
        check_same_config(load_config(path), tmp_path)


def test_a_run_without_its_config_does_not_go_on_unseen(path: Path, tmp_path: Path) -> None:
    cfg = load_config(path)
    (tmp_path / "config.yaml").unlink()
    check_same_config(cfg, tmp_path)  # without a checkpoint there is nothing to go on with
    (tmp_path / "model_0000004.pth").touch()
    with pytest.raises(ConfigError, match=r"no config\.yaml.*config_source\.yaml.*rename"):
        check_same_config(cfg, tmp_path)
    (tmp_path / "config_source.yaml").rename(tmp_path / "config.yaml")
    check_same_config(cfg, tmp_path)
    with pytest.raises(ConfigError, match=r"micro_batch_size \(there 1, now 2\)"):
        check_same_config(load_config(path, ["train.micro_batch_size=2"]), tmp_path)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"train\.init_checkpoint") as caught:
        check_same_config(cfg, tmp_path)
    assert "config_source" not in str(caught.value)


def test_a_setting_newer_than_the_run_had_its_default(path: Path, tmp_path: Path) -> None:
    saved = tmp_path / "config.yaml"
    lines = saved.read_text().splitlines(keepends=True)
    saved.write_text("".join(line for line in lines if "resume_from" not in line))
    assert config_changes(load_config(path), tmp_path) == {}
    changed = load_config(path, ["train.resume_from=x"])
    assert config_changes(changed, tmp_path) == {"train.resume_from": (None, "x")}


def test_of_a_run_that_had_to_lower_its_micro_batch_the_one_used_counts(
    write_config: WriteConfig, tmp_path: Path
) -> None:
    lines = 'dataloader["train"]["micro_batch_size"] = "${train.micro_batch_size}"'
    path = write_config("wide", "train.micro_batch_size = 8", lines)
    wide, used, other = (load_config(path, [f"train.micro_batch_size={n}"]) for n in (8, 4, 2))
    save_config(wide, tmp_path)
    start_record(tmp_path, ["train"])
    note_micro_batch(tmp_path, 4, step=0)
    for cfg in (wide, used):  # the command that began it, and one that says what it came to
        check_same_config(cfg, tmp_path)
    with pytest.raises(ConfigError, match=r"train\.micro_batch_size \(there 8, now 2\)"):
        check_same_config(other, tmp_path)
    write_entry(wide, tmp_path)
    assert read_json(tmp_path / "ledger.json") == entry_of(used) != entry_of(wide)
    config = read_run(tmp_path).config
    nodes = config["train"], config["dataloader"]["train"]
    assert [node["micro_batch_size"] for node in nodes] == [4, 4]
    note_micro_batch(tmp_path, None, step=0)
    write_entry(wide, tmp_path)
    assert read_json(tmp_path / "ledger.json") == entry_of(wide)
    assert read_run(tmp_path).config["train"]["micro_batch_size"] == 8
