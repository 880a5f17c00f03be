"""The best supported level of each factor becomes a config that loads and declares itself."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from comparison_toys import BASELINE, BATCH, ETRAM, LR, OFAT, SGD, make_run
from labbook_toys import STUDIES, declare_studies

from labbook import cli
from labbook.config.guard import changes, check_declared
from labbook.config.load import load_config, save_config, to_plain
from labbook.config.studies import Study, find_experiments
from labbook.results.combine import Candidate, choose, combine
from labbook.results.combined_config import config_text, write_combined
from runfolder import trust

ROOT = Path(__file__).resolve().parents[3]
LOWER_LR = "ofat_lr0.005_bs8_adamw_ep100"
EPOCHS = "ofat_lr0.001_bs8_adamw_ep150"


# Choosing ----------------------------------------------------------------------------------------


def candidate(name: str, factors: str, gain: float = math.nan, margin: float = 1.0) -> Candidate:
    low, high = gain - margin, gain + margin
    found = SimpleNamespace(estimate=gain, spread=math.nan, low=low, high=high, is_marked=low > 0)
    found.reason = "no matches" if math.isnan(low) else ""
    return Candidate(name, name.upper(), tuple(factors.split()), found)


@pytest.mark.parametrize(
    ("levels", "names", "facts"),
    [
        ([("a", "x", 2), ("b", "x", 5), ("c", "y", 3)], "b c", ["taken", "taken"]),
        ([("c", "y", 3), ("b", "x", 5), ("a", "x", 2)], "c b", ["taken", "taken"]),
        ([("a", "x", 0.5)], "", ["THIN EVIDENCE"]),
        ([("a", "x", -3)], "", ["not above the baseline"]),
        ([("a", "x", 9, math.nan)], "", ["no matches"]),
        ([("a", "x")], "", ["without a score"]),
        ([("a", "x", 2), ("b", "x", 3, 4)], "", ["THIN EVIDENCE"]),  # the best level or none
        ([("weak", "optimizer", 2), ("b", "optimizer.lr", 3)], "b", ["left out, because b"]),
        ([("weak", "a.b c", 2), ("b", "c", 3)], "b", ["left out, because b"]),
        ([("weak", "a.b.c", 2), ("b", "a", 3)], "b", ["left out, because b"]),
        ([("weak", "a b", 2), ("b", "b c", 3)], "b", ["left out, because b", "bundle"]),
        ([("a", "model.head", 2), ("b", "model.header", 3)], "a b", ["taken", "taken"]),
        ([("a", "x y", 2)], "a", ["x, y (a bundle, taken whole)"]),
    ],
)
def test_the_best_supported_level_of_each_factor_is_taken(
    levels: list[Any], names: str, facts: list[str]
) -> None:
    taken, remarks = choose([candidate(*level) for level in levels])
    assert [one.name for one in taken] == names.split()
    assert all(fact in remark for fact, remark in zip(facts, remarks, strict=False))


# From run folders --------------------------------------------------------------------------------


def copy_configs(root: Path) -> None:
    shutil.copytree(
        ROOT / "configs", root / "configs", ignore=shutil.ignore_patterns("__pycache__")
    )


def run_of(
    root: Path, study: Study, name: str, share: float, overrides: tuple[str, ...] = ()
) -> None:
    """A finished run of the real config."""
    names = {study.run_name(config): path for config, path in find_experiments(study, ROOT).items()}
    folder = make_run(root, name, share, study=study)
    save_config(load_config(ROOT / names[name], list(overrides)), folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real configs, a baseline, and runs of which batch 16, SGD and 0.005 are better."""
    root = tmp_path_factory.mktemp("study")
    copy_configs(root)
    shares = {BASELINE: 0.4, BATCH: 0.75, SGD: 0.85, LR: 0.2, LOWER_LR: 0.7, EPOCHS: 0.42}
    for name, share in shares.items():
        run_of(root, OFAT, name, share)
    return root


@pytest.fixture
def made(study: Path, tmp_path: Path) -> Path:
    """A copy of it, to combine."""
    return shutil.copytree(study, tmp_path, dirs_exist_ok=True)


def test_a_combined_config_loads_and_declares_all_it_moves(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["combine", "ofat"], made) == 0
    said = capsys.readouterr().out
    assert "configs/ofat/combined.py" in said and "THIN EVIDENCE" in said and "single seed" in said
    assert f"optimizer.lr: the best level is 0.005 ({LOWER_LR})" in said
    assert f"left out, because {SGD}" in said
    path = made / "configs" / "ofat" / "combined.py"
    baseline = load_config(path.with_name(f"{BASELINE.removeprefix('ofat_')}.py"))
    cfg = load_config(path)
    check_declared(cfg, baseline)
    assert cfg.experiment.factors == ["train.total_batch_size", "optimizer"]
    assert (cfg.experiment.name, cfg.experiment.parent) == ("ofat_combined", BASELINE)
    assert "+79.2 points" in cfg.experiment.hypothesis  # about 35 + 45
    assert to_plain(cfg.optimizer) == to_plain(load_config(path.with_name(f"{SGD}.py")).optimizer)
    assert cfg.train.total_batch_size == 16
    assert cfg.train.max_iter == 8_000  # follows from the batch, as in every config
    moved = {change.key for change in changes(baseline, cfg, cfg.experiment.factors)}
    assert "train.max_iter" in moved and "train.epochs" not in moved
    lines = path.read_text().splitlines()
    assert len(lines) <= 25 and max(map(len, lines)) <= 100
    assert lines[0].startswith('"""Question: ') and 'optimizer = L("torch.optim.sgd.SGD")(' in lines
    assert "Run: tools/lab.py run ofat --only combined" in lines


def test_combining_again_leaves_the_combination_out_and_takes_what_was_run(made: Path) -> None:
    """What the config file of a level says today does not count."""
    path = write_combined(combine(OFAT, made), made)
    before = path.read_text()
    save_config(load_config(path), make_run(made, "ofat_combined", 0.95))
    assert write_combined(combine(OFAT, made), made).read_text() == before
    run_of(made, OFAT, SGD, 0.85, ("optimizer.momentum=0.5",))
    write_combined(combine(OFAT, made), made)
    assert load_config(path).optimizer.momentum == 0.5


def test_a_toy_combination_stays_in_the_work_folder(tmp_path: Path) -> None:
    copy_configs(tmp_path)
    before = sorted((tmp_path / "configs").rglob("*.py"))
    study = STUDIES["ofat-debug"]
    for name, share in {BASELINE: 0.4, BATCH: 0.8, EPOCHS: 0.9}.items():
        run_of(tmp_path, study, name, share)
    assert cli.main(["combine", "ofat", "--debug"], tmp_path) == 0
    assert sorted((tmp_path / "configs").rglob("*.py")) == before
    path = tmp_path / "work_dirs" / "debug" / "ofat_combined.py"
    cfg = load_config(path)
    baseline = tmp_path / "configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
    check_declared(cfg, load_config(baseline))
    assert (cfg.train.total_batch_size, cfg.train.epochs) == (16, 3)
    assert cfg.train.output_dir == "work_dirs/debug/ofat_combined"
    assert cfg.experiment.study == "ofat-debug"
    assert "--config-file work_dirs/debug/ofat_combined.py" in path.read_text()


def test_a_step_of_a_ladder_brings_what_it_builds_on(tmp_path: Path) -> None:
    copy_configs(tmp_path)
    run_of(tmp_path, ETRAM, "etram_baseline_3scale_100k", 0.3)
    run_of(tmp_path, ETRAM, "etram_4scale_sizeaware_100k", 0.8)
    found = combine(ETRAM, tmp_path)
    assert not found.chosen
    assert "builds on etram_4scale_100k, which has no run folder" in found.remarks[-1]
    run_of(tmp_path, ETRAM, "etram_4scale_100k", 0.5)
    cfg = load_config(write_combined(combine(ETRAM, tmp_path), tmp_path))
    assert cfg.model.backbone.in_stages == [1, 2, 3, 4]
    assert (cfg.model.head.size_aware_loss, cfg.model.head.size_aware_weight) == (True, 2.5)
    check_declared(cfg, load_config(tmp_path / "configs/etram/baseline_3scale_100k.py"))


# Nothing to write --------------------------------------------------------------------------------


def toy_project(root: Path, shares: Mapping[str, float], **settings: Any) -> Path:
    """Runs whose configs are toys, and a config file of the baseline to build on."""
    folder = root / "configs" / "ofat"
    declare_studies(root, "ofat")
    (folder / "baseline_lr0.001_bs8_adamw_ep100.py").touch()
    for name, share in shares.items():
        make_run(root, name, share, **settings)
    return root


def test_nothing_is_written_where_nothing_is_supported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy_project(tmp_path, {BASELINE: 0.5, LR: 0.5, SGD: 0.2})
    make_run(tmp_path, BATCH, 0.9, end="failed")
    assert cli.main(["combine", "ofat"], tmp_path) == 1
    said = capsys.readouterr().out
    assert "nothing is written" in said and f"{BATCH} has not finished; left out." in said
    assert len([*(tmp_path / "configs" / "ofat").glob("*.py")]) == 1


def test_sentences_instead_of_a_combination(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy_project(tmp_path, {LR: 0.9})

    def sentence() -> str:
        assert cli.main(["combine", "ofat"], tmp_path) == 2
        return capsys.readouterr().err

    assert "baseline of the study 'ofat' has not finished" in sentence()
    make_run(tmp_path, BASELINE, 0.4)
    assert "has no key optimizer.lr" in sentence()
    make_run(tmp_path, "ofat_other", 0.5)
    assert "several experiments without parent" in sentence()
    (tmp_path / "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py").rename(
        tmp_path / "configs/ofat/x.py"
    )
    shutil.rmtree(tmp_path / "work_dirs" / "ofat_other")
    assert "no config in configs/ofat" in sentence()


# Text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model", {"_target_": "os.system", "command": "true"}, "--trust os"),
        ("model", {"x": [{"_target_": "pydoc.locate", "path": "os.system"}]}, "model.x.0.path"),
        ("model", {"_target_": "torch.nn.ReLU", "x=1)(**exec('1'), y": 1}, "cannot be a name"),
        ("exec('1'); model", 1, "cannot be a name"),
    ],
)
def test_a_copied_run_puts_no_code_into_a_program(
    tmp_path: Path, key: str, value: Any, words: str
) -> None:
    toy_project(tmp_path, {BASELINE: 0.4})
    declared = {"factors": [key], "parent": BASELINE, "level": 'x"""\nexec("1")'}
    make_run(tmp_path, LR, 0.9, experiment=declared, config={key: value})
    with pytest.raises(ValueError, match=words):
        config_text(combine(OFAT, tmp_path), "load_it()", "run it")


def test_any_value_is_written_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists, nested and equally named calls, texts, infinities, odd keys."""
    monkeypatch.setattr(trust, "_trusted", {"a"})
    values: dict[str, Any] = {
        "optimizer": {"_target_": "a.b.Class.build", "x": {"_target_": "a.c.Class"}, "y": None},
        "model": {
            "sizes": [[8], [16, 32]],
            "text": 'a "quote" and \\ ünicode',
            "limit": float("inf"),
            "table": {"odd key": [True, 1.5e-8]},
            "stages": [{"depth": 1}, {"depth": 2}],
            "AP-x": 3,
        },
        "train": {"seed": 0, "best_metric": "bbox/AP50", "epochs": 100},
    }
    keys = ["optimizer", "model.sizes", "model.text", "model.limit", "model.table"]
    keys += ["model.stages.1.depth", "model.AP-x"]
    toy_project(tmp_path, {BASELINE: 0.4})
    declared = {"factors": keys, "parent": BASELINE, "level": "x"}
    make_run(tmp_path, LR, 0.9, experiment=declared, config=values)
    text = config_text(combine(OFAT, tmp_path), "load_it()", "run it")
    body = text[text.index("optimizer = ") : text.index("experiment.update")]

    class Node(dict):  # reads and writes attributes, as a config does
        __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__

    model = Node(stages=[Node(depth=0), Node(depth=0)])
    names = {"L": lambda target: lambda **given: {"_target_": target, **given}, "model": model}
    exec(body, names, found := {})
    assert found["optimizer"] == values["optimizer"]
    wanted = dict(values["model"], stages=[{"depth": 0}, {"depth": 2}])
    assert model == wanted
