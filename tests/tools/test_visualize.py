"""The two tools that draw: from a run folder, from a config, and what they say when they cannot."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from boxmetrics.matches import ImageBoxes, save_matches
from boxmetrics.tables import BoxTable, Frame
from labbook.config.load import load_config, save_config

ROOT = Path(__file__).resolve().parents[2]
SIZES = "{seed: 0, train: 1, val: 1, test: 1, seconds: 1.0, width: 128, height: 96}"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of an evaluated run on two generated recordings; ``cfg`` beside its name."""
    folder = tmp_path_factory.mktemp("run")
    overrides = [
        f"dataset.root={folder / 'prepared'}",
        f"dataset.generate={SIZES}",
        "dataloader.sequence_length=3",
    ]
    config = ROOT / "configs/debug/etram/baseline_3scale_100k.py"
    save_config(load_config(config, overrides), folder)
    write_matches(folder / "evaluation" / "valid")
    return folder


def write_matches(folder: Path) -> None:
    """One labelled time with one prediction, of a score of 0.9."""
    box, none = np.array([[30.0, 20, 60, 50]]), np.zeros((0, 4))
    image = ImageBoxes(1, box, np.array([0.9]), np.array([4]), none, *[np.zeros(0, int)] * 3)
    folder.mkdir(parents=True)
    table = BoxTable.of_frames([Frame(image, "val_day_0001", 100_000)])
    save_matches(table, folder / "matches.npz")


def predict(monkeypatch, *arguments: object) -> str:
    module = tool("visualize_predictions")
    monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
    return module.show(module.parse_arguments())


def samples(monkeypatch, *arguments: object) -> str:
    module = tool("visualize_data")
    monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
    options = module.parse_arguments()
    return module.show(options)


def test_a_run_folder_alone_gives_a_video_and_a_sheet(run, tmp_path, monkeypatch):
    line = predict(monkeypatch, run, tmp_path / "a.mp4", "--seconds", 0.2)
    assert "4 images of val_day_0001; 1 predictions" in line
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 4
    line = predict(monkeypatch, run, tmp_path / "a.png", "--min-score", 0.95, "--images", 2)
    assert "2 images of val_day_0001; 0 predictions" in line
    assert cv2.imread(str(tmp_path / "a.png")).shape[1] > 2 * 128


def test_what_cannot_be_shown_is_a_sentence(run, tmp_path, monkeypatch):
    out = tmp_path / "a.png"
    cases = (
        ((run, out, "--split", "test"), "predictions of valid, not of 'test'.*--eval-only"),
        ((tmp_path, out), "is no run folder"),
        ((run, out, "--recording", "val_day_1"), "Did you mean 'val_day_0001'"),
        ((run, tmp_path / "a.avi"), r"must end in \.png"),
    )
    for arguments, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            predict(monkeypatch, *arguments)
    assert not list(tmp_path.iterdir())


def test_training_samples_of_a_config(run, tmp_path, monkeypatch):
    config = ("--config-file", run / "config_source.yaml")
    options = ("--samples", 2, "dataloader.sequence_length=4")
    assert "8 images" in samples(monkeypatch, *config, tmp_path / "s.png", *options)
    with pytest.raises(ValueError, match="Did you mean"):
        samples(monkeypatch, *config, tmp_path / "t.png", "dataloder.sequence_length=4")
    line = samples(monkeypatch, *config, "--assignment", tmp_path / "a.png", *options)
    assert "training starts from" in line and "no cell" in line and "stride 8" in line
    assert cv2.imread(str(tmp_path / "a.png")).shape[1] > 2 * 128
    recording = run / "prepared" / "train" / "train_day_0001"
    assert "images of train_day_0001" in samples(monkeypatch, recording, tmp_path / "r.png")


def test_a_run_on_images(tmp_path, monkeypatch):
    sizes = "{seed: 0, image_size: 160, train: 32, valid: 2, test: 2}"
    overrides = [f"dataset.root={tmp_path / 'heads'}", f"dataset.generate={sizes}"]
    config = ROOT / "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
    save_config(load_config(config, overrides), tmp_path)
    source = tmp_path / "config_source.yaml"
    line = samples(monkeypatch, "--config-file", source, tmp_path / "s.png", "--samples", 5)
    assert "5 images" in line and (tmp_path / "s.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="contact sheet"):
        samples(monkeypatch, "--config-file", source, tmp_path / "s.mp4")
    with pytest.raises(ValueError, match="GeneralizedRCNN"):
        samples(monkeypatch, "--config-file", source, "--assignment", tmp_path / "s.png")
    folder = tmp_path / "evaluation" / "valid"
    write_matches(folder)
    (folder / "predictions.json").write_text(json.dumps([]))
    assert "images of" in predict(monkeypatch, tmp_path, tmp_path / "found.png")
    with pytest.raises(ValueError, match="run on images"):
        predict(monkeypatch, tmp_path, tmp_path / "found.mp4")
