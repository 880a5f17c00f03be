"""What the demo tells a reader to paste is understood, and says what the demo's data are."""

from __future__ import annotations

import importlib.util
import shlex
from pathlib import Path

from console import predict, train
from labbook.config.load import load_config

ROOT = Path(__file__).resolve().parents[2]


def test_its_last_lines_can_be_pasted(monkeypatch):
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("demo", "tools/demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    cfg = load_config("configs/debug/demo/heads.py")
    python, script, run, data = shlex.split(demo.PREDICT)
    assert Path(python).exists() and Path(script).exists()
    assert run == cfg.train.output_dir and data == f"{cfg.dataset.root}/test"
    predict.parse([run, data], "predict")
    python, script, *words = shlex.split(demo.TRAIN_OWN)
    assert Path(python).exists() and Path(script).exists()
    args = train.parse(words, "train")
    own = load_config(args.config_file, args.opts)
    assert (own.dataset.root, own.train.images) == (cfg.dataset.root, cfg.train.images)
