"""A study is written that loads, declares itself and has a toy size, or nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from labbook_toys import link_configs

from labbook import cli
from labbook.authoring.study import new_study, toy_problems
from labbook.config.guard import check_study
from labbook.config.lineage import Family
from labbook.config.load import load_config, to_plain
from labbook.config.studies import find_experiments, get_study

TOY = """
from detectron2.config import LazyConfig

def toy(name):
    cfg = LazyConfig.load_rel(f"../ofat/{name}.py")
    cfg.train.output_dir = "work_dirs/debug/${experiment.name}"
    cfg.dataset.root = "toys"
    cfg.train.epochs = cfg.train.epochs // 50
    cfg.model.sizes = [[4]]
    return cfg
"""
RATE = "optimizer.lr=0.01"
FACTORS = [f"{RATE},1e-4", "train.epochs=110", "model.sizes=[[4],[8]]"]


@pytest.fixture
def root(write_config, tmp_path) -> Path:
    """A project with the study ``ofat``: a baseline, a child, a toy size."""
    write_config("baseline")
    lines = 'experiment.parent = "ofat_baseline"', 'experiment.factors = ["optimizer.lr"]'
    write_config("ofat_slow", *lines, "optimizer.lr = 0.1", 'experiment.hypothesis = "Slow."')
    (tmp_path / "configs/debug").mkdir()
    (tmp_path / "configs/debug/_ofat.py").write_text(TOY)
    return tmp_path


def files(root: Path) -> set[str]:
    paths = (root / "configs").rglob("*")
    return {path.relative_to(root).as_posix() for path in paths if "__pycache__" not in str(path)}


def test_every_config_loads_and_passes_the_guard_at_both_sizes(root):
    paths = new_study("mine", "ofat", FACTORS, root)
    names = ["baseline", "lr0.01", "lr0.0001", "epochs110", "sizes4_8"]
    for debug in (False, True):
        study = get_study("mine", root, debug)
        assert list(find_experiments(study, root)) == names  # in this order
        check_study(Family(study, root), names)
    assert toy_problems("mine", root) == []
    assert all(len(path.read_text().splitlines()) <= 20 for path in paths)
    cfg = Family(get_study("mine", root), root).load("lr0.01")
    assert to_plain(cfg.experiment) == {
        "_target_": cfg.experiment._target_,
        "name": "mine_lr0.01",
        "study": "mine",
        "parent": "mine_baseline",
        "factors": ["optimizer.lr"],
        "level": 0.01,
        "hypothesis": cfg.experiment.hypothesis,
        "targets": {},
    }
    assert cfg.optimizer.lr == 0.01 and cfg.train.epochs == 100
    assert "lab.py run mine --only lr0.01" in (root / "configs/mine/lr0.01.py").read_text()
    assert get_study("mine", root).generate == get_study("ofat", root).generate


def test_what_toy_size_holds_still_is_moved_there(root):
    new_study("mine", "ofat", FACTORS[1:], root)
    family = Family(get_study("mine", root, debug=True), root)
    toy = {name: family.load(name) for name in ("baseline", "epochs110", "sizes4_8")}
    assert (toy["baseline"].train.epochs, toy["epochs110"].train.epochs) == (2, 3)
    assert to_plain(toy["baseline"].model.sizes) == [[4]]
    assert to_plain(toy["sizes4_8"].model.sizes) == [[4], [8]]  # the real level


@pytest.mark.parametrize(
    ("name", "source", "factor", "words"),
    [
        ("ofat", "ofat", "optimizer.lr=0.01", ["configs/ofat is there"]),
        ("other", "ofat", "optimizer.lr=0.01", ["configs/debug/_other.py is there"]),
        ("my-study", "ofat", "optimizer.lr=0.01", ["'my-study'", "letters"]),
        ("1st", "ofat", "optimizer.lr=0.01", ["'1st'"]),
        ("../mine", "ofat", "optimizer.lr=0.01", ["'../mine'"]),
        ("mine", "ofta", "optimizer.lr=0.01", ["'ofta'", "Did you mean 'ofat'"]),
        ("mine", "ofat", "optimizer.lrr=0.01", ["Did you mean 'optimizer.lr'"]),
        ("mine", "ofat", "optimizer.lr=0.01,1e-3", ["ofat_baseline has 0.001"]),
        ("mine", "ofat", "optimizer.lr=0.01,0.01", ["twice"]),
        ("mine", "ofat", "optimizer.lr", ["key=value"]),
        ("mine", "ofat", "optimizer.lr=interval(0,1)", ["key=a,b"]),
        ("mine", "ofat", "optimizer={lr:1}", ["section"]),
        ("mine", "ofat", "train.epochs=many", ["train.epochs", "int"]),
        ("mine", "ofat", "train.output_dir=x", ["no factor"]),
        ("mine", "ofat", "optimizer.betas.0=0.8", ["optimizer.betas"]),  # a list is one value
    ],
)
def test_what_cannot_be_is_told_and_leaves_nothing(root, capsys, name, source, factor, words):
    (root / "configs/debug/_other.py").touch()
    before = files(root)
    arguments = ["new-study", name, "--from", source, "--factor", factor]
    assert cli.main(arguments, root) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert files(root) == before


def test_an_experiment_may_be_the_baseline_and_levels_be_anything(root):
    text = 'a\\b """c'
    texts, numbers = f"dataset.root='{text}',x", "optimizer.lr=${model.classes},0.2"
    new_study("mine", "ofat_slow", [texts, numbers, "dataset.keep_negatives=false"], root)
    family = Family(get_study("mine", root), root)
    baseline, *others = map(family.load, family.paths)
    assert (baseline.experiment.parent, baseline.experiment.factors) == (None, [])
    assert (baseline.experiment.hypothesis, baseline.optimizer.lr) == ("Slow.", 0.1)
    assert [cfg.dataset.root for cfg in others[:2]] == [text, "x"]
    assert [cfg.experiment.level for cfg in others] == [text, "x", 1, 0.2, "False"]


def test_of_several_baselines_one_is_named(root, write_config):
    write_config("baseline_b")
    with pytest.raises(ValueError, match="--from ofat_baseline") as caught:
        new_study("mine", "ofat", [RATE], root)
    assert "ofat_baseline_b" in str(caught.value)
    new_study("mine", "ofat_baseline_b", [RATE], root)


def test_a_study_grows_from_a_written_one(root):
    new_study("mine", "ofat", [RATE], root)
    new_study("next", "mine_lr0.01", ["train.epochs=110", "optimizer.weight_decay=0.2"], root)
    assert toy_problems("next", root) == []
    toy = load_config(root / "configs/debug/next/epochs110.py")
    assert (toy.optimizer.lr, toy.train.epochs, toy.dataset.root) == (0.01, 3, "toys")


def test_the_command_says_what_is_amiss_at_toy_size(root, capsys):
    (root / "configs/debug/_ofat.py").unlink()
    arguments = ["new-study", "mine", "--from", "ofat", "--factor", RATE]
    assert cli.main(arguments, root) == 0
    out = capsys.readouterr().out
    assert "configs/mine/lr0.01.py" in out and "configs/debug/_mine.py" in out
    assert "lab.py preflight mine" in out


@pytest.mark.parametrize(
    ("source", "factors"),
    [
        ("ofat", ["train.warmup_iters=1000", "dataloader.image_size=320"]),
        ("etram", ["train.max_iter=105000", "model.head.size_aware_loss=true"]),
        ("demo_heads", ["optimizer.lr=0.01"]),  # an experiment of a study without a toy size
    ],
)
def test_the_studies_of_this_repository_are_sources(tmp_path, source, factors):
    link_configs(tmp_path)
    new_study("mine", source, factors, tmp_path)
    problems = toy_problems("mine", tmp_path)
    assert bool(problems) is (source == "demo_heads")
