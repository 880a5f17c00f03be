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

ROOT = Path(__file__).resolve().parents[3]
LOWER_LR = "ofat_lr0.005_bs8_adamw_ep100"
EPOCHS = "ofat_lr0.001_bs8_adamw_ep150"


# Choosing ----------------------------------------------------------------------------------------


def candidate(name: str, factors: str, gain: float = math.nan, margin: float = 1.0) -> Candidate:
    low, high = gain - margin, gain + margin
    found = SimpleNamespace(estimate=gain, spread=math.nan, low=low, high=high, is_marked=low > 0)
    found.reason = "no matches" if math.isnan(low) else ""
    return Candidate(name, name.upper(), tuple(factors.split()), found)


def chosen(*candidates: Candidate) -> list[str]:
    return [one.name for one in choose(candidates)[0]]


def test_the_best_level_of_each_factor_is_taken() -> None:
    levels = [candidate("a", "x", 2), candidate("b", "x", 5), candidate("c", "y", 3)]
    assert chosen(*levels) == ["b", "c"]
    assert chosen(*reversed(levels)) == ["c", "b"]


def test_what_the_interval_does_not_support_stays_as_it_is() -> None:
    thin, worse = candidate("a", "x", 0.5), candidate("b", "y", -3)
    unknown, nothing = candidate("c", "z", 9, math.nan), candidate("d", "w")
    taken, remarks = choose([thin, worse, unknown, nothing])
    assert taken == []
    facts = ("THIN EVIDENCE", "not above the baseline", "no matches", "without a score")
    assert all(fact in remark for fact, remark in zip(facts, remarks, strict=True))


def test_a_lower_level_does_not_stand_in_for_an_unsupported_best() -> None:
    assert chosen(candidate("a", "x", 2), candidate("b", "x", 3, 4)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("optimizer", "optimizer.lr"), ("a.b c", "c"), ("a.b.c", "a"), ("a b", "b c")],
)
def test_of_two_that_move_the_same_the_better_is_taken(one: str, other: str) -> None:
    pair = [candidate("weak", one, 2), candidate("strong", other, 3)]
    taken, remarks = choose(pair)
    assert [each.name for each in taken] == ["strong"]
    assert "left out" in remarks[0] and "strong" in remarks[0]


def test_neighbouring_names_are_no_conflict() -> None:
    assert chosen(candidate("a", "model.head", 2), candidate("b", "model.header", 3)) == ["a", "b"]


def test_bundles_are_taken_whole_and_said() -> None:
    taken, remarks = choose([candidate("a", "x y", 2)])
    assert taken[0].factors == ("x", "y") and "bundle" in remarks[0]


# From run folders --------------------------------------------------------------------------------


def copy_configs(root: Path) -> None:
    shutil.copytree(
        ROOT / "configs", root / "configs", ignore=shutil.ignore_patterns("__pycache__")
    )


def run_of(
    root: Path, study: Study, name: str, share: float, overrides: tuple[str, ...] = ()
) -> None:
    """A finished run of the real config."""
    names = {study.run_name(config): path for config, path in find_experiments(study, root).items()}
    folder = make_run(root, name, share, study=study)
    save_config(load_config(root / names[name], list(overrides)), folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real configs, a baseline, and runs of which batch 16, SGD and 0.005 are better."""
    root = tmp_path_factory.mktemp("made")
    copy_configs(root)
    shares = {BASELINE: 0.4, BATCH: 0.75, SGD: 0.85, LR: 0.2, LOWER_LR: 0.7, EPOCHS: 0.42}
    for name, share in shares.items():
        run_of(root, OFAT, name, share)
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(made, tmp_path / "project")


def test_a_combined_config_loads_and_declares_all_it_moves(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["combine", "ofat"], project) == 0
    said = capsys.readouterr().out
    assert "configs/ofat/combined.py" in said and "THIN EVIDENCE" in said and "single seed" in said
    assert f"optimizer.lr: the best level is 0.005 ({LOWER_LR})" in said
    assert f"left out, because {SGD}" in said
    path = project / "configs" / "ofat" / "combined.py"
    baseline = load_config(path.with_name(f"{BASELINE.removeprefix('ofat_')}.py"))
    cfg = load_config(path)
    check_declared(cfg, baseline)
    assert cfg.experiment.factors == ["train.total_batch_size", "optimizer"]
    assert (cfg.experiment.name, cfg.experiment.parent) == ("ofat_combined", BASELINE)
    assert "+79.2 points" in cfg.experiment.hypothesis  # about 35 + 45
    sgd = load_config(path.with_name(f"{SGD}.py"))
    assert to_plain(cfg.optimizer) == to_plain(sgd.optimizer)
    assert cfg.train.total_batch_size == 16
    assert cfg.train.max_iter == 8_000  # follows from the batch, as in every config
    moved = {change.key for change in changes(baseline, cfg, cfg.experiment.factors)}
    assert "train.max_iter" in moved and "train.epochs" not in moved


def test_the_file_is_short_and_written_like_its_neighbours(project: Path) -> None:
    path = write_combined(combine(OFAT, project), project)
    text = path.read_text()
    assert len(text.splitlines()) <= 25
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith('"""Question: ') and "tools/lab.py run ofat --only combined" in text
    assert 'optimizer = L("torch.optim.sgd.SGD")(' in text
    assert 'LazyConfig.load_rel("baseline_lr0.001_bs8_adamw_ep100.py")' in text


def test_what_was_run_counts_not_what_the_config_file_says_today(project: Path) -> None:
    shutil.rmtree(project / "work_dirs" / SGD)
    run_of(project, OFAT, SGD, 0.85, ("optimizer.momentum=0.5",))
    path = write_combined(combine(OFAT, project), project)
    assert load_config(path).optimizer.momentum == 0.5


def test_combining_again_leaves_the_combination_out(project: Path) -> None:
    path = write_combined(combine(OFAT, project), project)
    before = path.read_text()
    folder = make_run(project, "ofat_combined", 0.95)
    save_config(load_config(path), folder)
    write_combined(combine(OFAT, project), project)
    assert path.read_text() == before


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


def test_any_value_is_written_as_it_was(tmp_path: Path) -> None:
    """Lists, nested and equally named calls, texts, infinities, odd keys."""
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
