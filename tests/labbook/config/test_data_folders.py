"""Runs on another data set than the study's own get a folder for themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from labbook.config.load import load_config, save_config

ROOT = Path(__file__).resolve().parents[3]
OFAT = ROOT / "configs/ofat/ofat_lr0.01_bs8_adamw_ep100.py"
ETRAM = ROOT / "configs/etram/baseline_3scale_100k.py"
NAME = OFAT.stem


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ([], "work_dirs"),
        (["optimizer.lr=0.5", "train.images=3"], "work_dirs"),
        (["dataset.root=datasets/rbc"], "work_dirs/rbc"),
        (["dataset.root=/data/some/rbc/"], "work_dirs/rbc"),
        (["dataset.root=datasets/coco", "dataset.name=rbc"], "work_dirs/rbc"),
        (["dataset.root=datasets/x", "dataset.name=rbc"], "work_dirs/rbc"),
        (["dataset.root=./datasets/coco"], "work_dirs"),
        (["dataset.root=datasets/rbc", "train.output_dir=elsewhere"], None),
        (["dataset.root='datasets/a b/{c}'"], "work_dirs/_c_"),
        (["dataset.root=datasets/.."], f"work_dirs/{ROOT.name}"),
        (["dataset.root=/"], "work_dirs/data"),
    ],
)
def test_the_folder_names_the_data_set_where_an_override_does(overrides, folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    cfg = load_config(OFAT, overrides)
    assert cfg.train.output_dir == (f"{folder}/{NAME}" if folder else "elsewhere")


def test_the_same_data_in_another_place_or_form_are_the_studys_own(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/data")
    assert load_config(OFAT).train.output_dir == f"work_dirs/{NAME}"
    assert load_config(OFAT, ["dataset.root=/data/coco"]).train.output_dir == f"work_dirs/{NAME}"
    cfg = load_config(ETRAM, ["dataset.downsample=sum"])
    assert cfg.train.output_dir == "work_dirs/etram_baseline_3scale_100k"
    toy = load_config(ROOT / "configs/debug/ofat" / OFAT.name, ["dataset.root=x"])
    assert toy.train.output_dir == f"work_dirs/debug/x/{NAME}"


def test_runs_of_before_and_saved_configs_keep_their_place(write_config, tmp_path):
    path, words = write_config("baseline"), ["dataset.root=there"]
    folder = "work_dirs/ofat_baseline"
    assert load_config(path, words).train.output_dir == "work_dirs/there/ofat_baseline"
    save_config(load_config(path, [*words, f"train.output_dir={folder}"]), tmp_path / folder)
    assert load_config(path, words).train.output_dir == folder  # so that --resume finds it
    other = load_config(path, ["dataset.root=other"])
    assert other.train.output_dir == "work_dirs/other/ofat_baseline"
    saved = tmp_path / folder / "config.yaml"
    assert load_config(saved, ["dataset.root=moved"]).train.output_dir == folder
    saved.write_text("]")
    assert load_config(path, words).train.output_dir == "work_dirs/there/ofat_baseline"
