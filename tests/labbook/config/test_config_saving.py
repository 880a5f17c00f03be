"""A saved config reloads equal, also where nothing of the project's has run before."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from labbook.config.load import ConfigError, diff_configs, load_config, save_config, to_plain

WriteConfig = Callable[..., Path]

RELOAD = """
import json, sys
from labbook.config.load import load_config, to_plain
from runfolder.trust import trust
trust("labbook_toys")
found = to_plain(load_config(sys.argv[1]))
heavy = [name for name in ("torch", "detectron2") if name in sys.modules]
print(json.dumps([found, heavy]))
"""


def test_reloads_equal_in_a_bare_interpreter(write_config: WriteConfig, tmp_path: Path) -> None:
    light = ["optimizer = L(loader)(dataset='???', batch=1)", "experiment.level = 'naïve: 1e-5'"]
    cfg = load_config(write_config("baseline", *light))
    save_config(cfg, tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, str(tmp_path / "run" / "config.yaml")],
        capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found, heavy = json.loads(done.stdout)
    assert found == to_plain(cfg)
    assert heavy == []


def test_saved_files_are_plain_yaml(write_config: WriteConfig, tmp_path: Path) -> None:
    cfg = load_config(write_config(), ["train.batch=16"])
    save_config(cfg, tmp_path)
    text = (tmp_path / "config.yaml").read_text()
    assert "!!" not in text and "${" not in text
    assert yaml.safe_load(text) == to_plain(cfg)
    reloaded = load_config(tmp_path / "config.yaml")
    assert diff_configs(cfg, reloaded) == {}
    assert (reloaded.train.limit, reloaded.train.tiny) == (math.inf, 1e-8)
    assert reloaded.model.inner is None
    assert reloaded.lr_multiplier == {"milestones": [5600], "text": "1e-5", "on": "on"}
    source = load_config(tmp_path / "config_source.yaml", ["train.batch=2"])
    assert source.train.max_iter == 63600, "the source keeps interpolations"
    assert {path.name for path in tmp_path.glob("*.yaml")} == {"config.yaml", "config_source.yaml"}


@pytest.mark.parametrize("value", [math.nan, r"\${train.y}", ["a", r"\${b}"]])
def test_a_config_that_cannot_reload_is_not_written(value: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not reload equal from YAML: train\.x\."):
        save_config(OmegaConf.create({"train": {"x": value, "y": 1}}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_differences_are_of_resolved_values() -> None:
    old = OmegaConf.create({"a": {"x": 1, "y": "${a.x}", "z": [1, 2]}, "gone": 1})
    new = OmegaConf.create({"a": {"x": 2, "y": "${a.x}", "z": [1, 3]}, "new": {"k": None}})
    assert diff_configs(old, old) == {}
    assert diff_configs(old, new) == {
        "a.x": (1, 2),
        "a.y": (1, 2),
        "a.z": ([1, 2], [1, 3]),
        "gone": (1, "???"),
        "new.k": ("???", None),
    }
