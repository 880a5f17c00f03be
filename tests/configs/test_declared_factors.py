"""Every real config declares what it moves, says where its values come from, and reloads equal."""

from __future__ import annotations

import ast
import contextlib
import copy
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from loaded_once import SharedFamily
from omegaconf import DictConfig, OmegaConf

from labbook.config.guard import changes, check_declared, check_study
from labbook.config.load import ConfigError, save_config, to_plain
from labbook.config.sources import find_assignments
from labbook.config.studies import DEBUG, find_experiments, find_studies
from labbook.config.trees import flatten, is_key, prefixes
from runfolder.yaml_files import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
STUDIES = find_studies(ROOT)
EXPERIMENTS = [
    (study.name, name) for study in STUDIES.values() for name in find_experiments(study, ROOT)
]
REAL = [
    (study.name, name)
    for study in STUDIES.values()
    if not study.config_folder.startswith(DEBUG)
    for name in study.order
]


@cache
def family(study: str) -> SharedFamily:
    return SharedFamily(STUDIES[study], ROOT)


def loaded(study: str, name: str) -> DictConfig:
    return family(study).load(name)


@pytest.mark.parametrize("study", STUDIES)
def test_all_configs_of_a_study_keep_their_declarations(study: str) -> None:
    check_study(family(study), find_experiments(STUDIES[study], ROOT))


@pytest.mark.parametrize(("study", "name"), EXPERIMENTS)
def test_each_config_declares_itself(study: str, name: str) -> None:
    declared = loaded(study, name).experiment
    assert declared.study == study and declared.name == STUDIES[study].run_name(name)
    assert bool(declared.factors) is (declared.parent is not None)
    assert len(set(declared.factors)) == len(declared.factors)
    assert str(declared.level) and declared.hypothesis.endswith(".")
    assert all(isinstance(value, float) for value in declared.targets.values())


@pytest.mark.parametrize(("study", "name"), REAL)
def test_a_child_differs_from_its_parent_in_its_factors_only(study: str, name: str) -> None:
    child = loaded(study, name)
    parent = family(study).parent(child)
    if parent is None:
        return
    # Before interpolations are resolved: what follows from others has not been changed by hand.
    old, new = (flatten(OmegaConf.to_container(cfg, resolve=False)) for cfg in (parent, child))
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    changed = {key for key in changed if not key.startswith("experiment.")}
    factors = set(child.experiment.factors)
    moved = {f for f in factors if any(key == f or key.startswith(f"{f}.") for key in changed)}
    stray = {key for key in changed if not any(key.startswith(factor) for factor in factors)}
    # How much of a batch is in memory at once changes neither the experiment nor its factors.
    assert moved == factors and stray <= {"train.micro_batch_size"}


@pytest.mark.parametrize(("study", "name"), REAL)
def test_each_real_config_has_a_toy_version_that_asks_the_same(study: str, name: str) -> None:
    real, toy = (to_plain(loaded(s, name).experiment) for s in (study, f"{study}-debug"))
    assert toy == {**real, "study": f"{study}-debug"}


@pytest.mark.parametrize(
    ("study", "name", "key", "value"),
    [
        ("ofat", "ofat_lr0.001_bs16_adamw_ep100", "train.warmup_iters", 250),
        ("ofat", "ofat_lr0.001_bs8_adamw_ep150", "train.max_iter", 15_900),
        ("ofat", "ofat_lr0.01_bs8_adamw_ep100", "train.seed", 1),
        ("backbones", "resnet50_frozen", "model.proposal_generator.nms_thresh", 0.6),
        ("backbones", "vim_tiny_last4", "model.backbone.bottom_up.frozen", True),
        ("etram", "patch2_sizeaware_100k", "train.micro_batch_size", 1),
        ("etram", "4scale_100k", "model.head.score_threshold", 0.01),
        ("rvt", "gen1_tiny", "dataloader.sequence_length", 11),
    ],
)
def test_a_stray_change_is_refused(study: str, name: str, key: str, value: object) -> None:
    cfg = loaded(study, name)
    parent = family(study).parent(cfg)  # as it is, it is not refused: above
    stray = copy.deepcopy(cfg)
    OmegaConf.update(stray, key, value)
    with pytest.raises(ConfigError, match=f"differs from its parent in {key} "):
        check_declared(stray, parent)


@pytest.mark.parametrize(
    ("study", "name", "followers"),
    [
        ("ofat", "ofat_lr0.001_bs16_adamw_ep100", {"train.max_iter", "train.eval_period"}),
        ("backbones", "vim_tiny_960", {"model.backbone.bottom_up.img_size"}),
        (
            "etram",
            "patch2_sizeaware_100k",
            {"train.micro_batch_size", "dataloader.train.micro_batch_size"},
        ),
        ("etram", "patch2_4scale_sizeaware_200k", {"lr_multiplier.num_updates"}),
        ("etram", "3scale_sizeaware_sumpool_100k", {"dataset.root", "evaluation.test.dataset"}),
    ],
)
def test_derived_values_follow(study: str, name: str, followers: set[str]) -> None:
    cfg = loaded(study, name)
    parent = family(study).parent(cfg)
    assert parent is not None
    found = {c.key: c.kind for c in changes(parent, cfg, cfg.experiment.factors)}
    assert {found[key] for key in followers} == {"derived"}


@pytest.mark.parametrize(("study", "name"), EXPERIMENTS)
def test_every_value_has_a_line_or_is_a_default(study: str, name: str) -> None:
    """The line names the key and gives its value; what no line gives belongs to a call's class."""
    path = ROOT / find_experiments(STUDIES[study], ROOT)[name]
    plain: Any = OmegaConf.to_container(loaded(study, name), resolve=False)
    for key, value in flatten(plain).items():
        found = next(find_assignments(path, key), None)
        if found is None:
            assert any(is_key(plain, f"{above}._target_") for above in prefixes(key)), key
        elif not key.endswith("_target_"):
            last = key.rpartition(".")[2]  # an item of a list has no name on its line
            assert last.isdigit() or last in found.text, key
            with contextlib.suppress(ValueError):  # an expression
                written = ast.literal_eval(found.value)
                written = list(written) if isinstance(written, tuple) else written
                assert repr(written) == repr(value), key


def test_a_literal_is_found_on_its_own_line() -> None:
    path = ROOT / "configs/etram/3scale_sizeaware_attention_100k.py"
    for key, file, text in (
        ("optimizer.lr", "3scale_sizeaware_attention_100k.py", "lr=0.001"),
        ("model.head.size_aware_loss", "3scale_sizeaware_100k.py", "size_aware_loss = True"),
        ("model.head.max_detections", "rvt_yolox.py", "max_detections=300"),
        ("dataloader.valid.batch_size", "etram.py", "batch_size=2"),
        ("train.checkpointer.period", "train_steps.py", "period=1_000"),
    ):
        found = next(find_assignments(path, key))
        assert found.file.name == file and text in found.text


RELOAD = """
import json, sys
from labbook.config.load import load_config, to_plain
print(json.dumps({path: to_plain(load_config(path)) for path in sys.argv[1:]}))
"""


@pytest.mark.parametrize(("study", "name"), REAL)
def test_each_real_config_can_be_saved(study: str, name: str, tmp_path: Path) -> None:
    """Which fails where it would not reload equal; as it was written, too."""
    save_config(loaded(study, name), tmp_path)
    source = parse_yaml((tmp_path / "config_source.yaml").read_text())
    assert source == OmegaConf.to_container(loaded(study, name), resolve=False)


def test_saved_configs_reload_equal_in_a_bare_interpreter(tmp_path: Path) -> None:
    """The first one of each study, at both sizes."""
    expected = {}
    for study, name in dict(reversed(EXPERIMENTS)).items():
        folder = tmp_path / study / name
        save_config(loaded(study, name), folder)
        expected[str(folder / "config.yaml")] = to_plain(loaded(study, name))
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, *expected], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == expected
