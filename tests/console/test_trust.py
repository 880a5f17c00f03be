"""No command runs what a run folder of somebody else names; the way out that it offers works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from script_runs import execute

import smalldet
from console import doctor, export, predict, reproduce_nan
from runfolder import trust
from smalldet.predict.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder whose model is of a module that writes ``written`` when it is imported."""
    monkeypatch.setattr(trust, "_trusted", set())
    monkeypatch.syspath_prepend(tmp_path)
    text = f"open({str(tmp_path / 'written')!r}, 'a').close()\n\nfrom torch.nn import ReLU\n"
    (tmp_path / "evil_module.py").write_text(text)
    folder = tmp_path / "run"
    folder.mkdir()
    calls: dict = {name: {} for name in ("dataloader", "optimizer", "lr_multiplier")}
    cfg = {"model": {"_target_": "evil_module.ReLU"}, "train": {"device": "cpu"}, **calls}
    (folder / "config.yaml").write_text(yaml.safe_dump(cfg))
    torch.save({"model": {}}, folder / "model_final.pth")
    metadata = Manifest("weights").metadata(yaml.safe_dump(cfg))
    save_file({}, folder / "run.safetensors", metadata)
    states = {key: {} for key in ("random", "model", "optimizer", "scaler")}
    facts = {"error": "NaN", "iteration": 0, "micro_batches": [], "recurrent": None}
    torch.save(facts | states | {"config": yaml.safe_dump(cfg)}, folder / "nan_dump.pth")
    yield folder
    sys.modules.pop("evil_module", None)


@pytest.mark.parametrize(
    "command",
    [
        smalldet.load,
        lambda run: smalldet.load(run / "run.safetensors"),
        lambda run: predict.predict(predict.parse([str(run), "photo.jpg"], "predict")),
        lambda run: export.main([str(run), "--format", "weights"], "export"),
        lambda run: doctor.main(["config", str(run)], "doctor"),
        lambda run: doctor.main(["weights", str(run / "model_final.pth"), str(run)], "doctor"),
        lambda run: reproduce_nan.main([str(run / "nan_dump.pth")], "reproduce"),
    ],
    ids=["load", "load exported", "predict", "export", "doctor config", "doctor weights", "NaN"],
)
def test_commands_refuse(command, run: Path) -> None:
    with pytest.raises(
        ValueError, match=r"model._target_ names evil_module.ReLU.*--trust evil_mod"
    ):
        command(run)
    assert not (run.parent / "written").exists()


def test_what_is_trusted_is_used(run: Path) -> None:
    said = export.main([str(run), "--format", "weights", "--trust", "evil_module"], "export")
    assert "written:" in said and (run.parent / "written").exists()


def test_the_training_script_refuses_and_says_how(run: Path) -> None:
    script = run.parent / "train.py"
    tool = ROOT / "tools/lazyconfig_train_net.py"
    script.write_text(
        f"import runpy, sys\nsys.path.insert(0, {str(run.parent)!r})\n"
        f"runpy.run_path({str(tool)!r}, run_name='__main__')\n"
    )
    words = ["--config-file", str(run / "config.yaml"), "--eval-only", "dataloader={}"]
    done = execute([sys.executable, str(script), *words])
    assert done.returncode == 1 and "Traceback" not in done.stdout
    assert "--trust evil_module." in done.stdout and not (run.parent / "written").exists()
    done = execute([sys.executable, str(script), "--trust", "evil_module", *words])
    assert "--trust" not in done.stdout and (run.parent / "written").exists()
