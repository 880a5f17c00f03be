"""An experiment differs from its parent where it says so, and nowhere else."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from family_toys import write_child
from labbook_toys import STUDIES
from omegaconf import OmegaConf

from labbook import cli
from labbook.config.guard import changes, check_declared, check_study
from labbook.config.lineage import Family, find_experiment
from labbook.config.load import ConfigError, load_config, to_plain
from labbook.config.signatures import MISSING
from labbook.config.studies import find_experiments
from labbook.config.trees import flatten

WriteConfig = Callable[..., Path]
OFAT = STUDIES["ofat"]
SGD = "optimizer = L(torch.optim.SGD)(params='???', lr=1e-3, momentum=0.9)"


@pytest.fixture
def root(write_config: WriteConfig, tmp_path: Path) -> Path:
    """A project folder with a baseline."""
    write_config("baseline", "experiment.level = 'baseline'")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "factors", "override", "sentence"),
    [
        ("optimizer.lr = 0.01", ["optimizer.lr"], None, None),
        ("optimizer.lr = 0.01", ["optimizer"], None, None),
        ("train.batch = 16", ["train.batch"], None, None),  # four values follow
        (SGD, ["optimizer"], None, None),
        ("model.sizes = [[4], [8], [16]]", ["model.sizes"], None, None),
        ("dataset.classes = ('head', 'hat')", ["dataset.classes"], None, None),  # two follow
        ("train.images = 9; optimizer.lr = 0.1", ["train.images", "optimizer.lr"], None, None),
        ("train.max_iter = 500", ["train.max_iter"], None, None),
        ("train.output_dir = 'elsewhere'; optimizer.lr = 0.1", ["optimizer.lr"], None, None),
        ("train.device = 'cpu'", ["train.device"], None, None),  # a default that no file writes
        ("optimizer.lr = 0.1; optimizer.weight_decay = 0.0", ["optimizer.lr"], None,
         r"optimizer.weight_decay \(0.1 there, 0.0 here\), which its factors \(optimizer.lr\)"),
        (SGD, ["optimizer._target_"], None,
         r"optimizer.betas \(\[0.9, 0.999\] there, absent here\)"),
        ("train.batch = 16; train.eval_period = 80", ["train.batch"], None,
         r"train.eval_period \(159 there, 80 here\)"),
        ("train.images = 1272; train.eval_period = 159", ["train.images"], None,
         r"eval_period \(\$\{iter.*\} there, 159 here: the same value today, but it follows no mo"),
        ("optimizer.lr = 1e-3", ["optimizer.lr"], None,
         r"its factor optimizer.lr is not moved: it is 0.001 as in its parent ofat_baseline"),
        ("train.batch = 16", ["train.batch", "train.max_iter"], None,
         "factor train.max_iter is not moved"),
        ("optimizer.lr = 0.1", ["optimizer.lrr"], None,
         "no key of the config. Did you mean 'optimizer."),
        ("model.sizes = [[4], [8]]", ["model.size"], None, "model.sizes .* do not cover"),
        ("", [], None, "declares no factor, so it would repeat its parent"),
        ("optimizer.lr = 0.1", [], None, "declares no factor"),
        # The command line holds for both.
        ("optimizer.lr = 0.01", ["optimizer.lr"], "train.batch=4", None),
        ("optimizer.lr = 0.01", ["optimizer.lr"], "optimizer.lr=0.5", "optimizer.lr is not moved"),
        (SGD, ["optimizer"], "optimizer.lr=0.5", None),
        (SGD, ["optimizer"], "optimizer.momentum=0.5", None),  # the parent's AdamW has none
        (SGD, ["optimizer"], "optimizer.momentun=0.5", "Did you mean 'optimizer.momentum'"),
        ("train.batch = 16", ["train.batch"], "train.max_iter=10", None),
    ],
)  # fmt: skip
def test_what_is_declared_is_allowed_and_nothing_else(
    root: Path, line: str, factors: list[str], override: str | None, sentence: str | None
) -> None:
    write_child(root, "child", line, factors=factors)
    family = Family(OFAT, root, [override] if override else [])
    with contextlib.ExitStack() as stack:
        if sentence:
            stack.enter_context(pytest.raises(ConfigError, match=sentence))
        check_study(family, ["child"])


def test_any_key_that_moves_must_be_declared(root: Path) -> None:
    """Also those that a parent has as an interpolation, and those that only a child has."""
    parent = load_config(root / "configs/ofat/baseline.py")
    written = flatten(OmegaConf.to_container(parent, resolve=False))
    values = flatten(to_plain(parent))
    keys = [key for key in written if not key.startswith(("experiment.", "train.output_dir"))]
    for key in [*keys, "model.new"]:
        child, value = copy.deepcopy(parent), values.get(key)
        moved = value + 1 if type(value) is int else ["moved", "twice"]
        OmegaConf.update(child, key, moved, force_add=True)
        child.experiment.factors = ["elsewhere"]
        kinds = {change.key: change.kind for change in changes(parent, child, [])}
        assert kinds.pop(key) == "undeclared"
        assert set(kinds.values()) <= {"derived"}
        with pytest.raises(ConfigError, match=f"differs from its parent in {key} .* do not cover"):
            check_declared(child, parent)
        child.experiment.factors = [key]
        check_declared(child, parent)


def test_what_changes_tell(root: Path) -> None:
    parent = load_config(root / "configs/ofat/baseline.py")
    lines = "dataset.keep_negatives = False", "train.batch = 16", "model.sizes = [[8], [3]]", SGD
    child = load_config(write_child(root, "child", *lines))
    found = {change.key: change for change in changes(parent, child, ["dataset"])}
    copied = found["dataloader.train.dataset.keep_negatives"]
    assert (copied.kind, copied.source) == ("derived", "dataloader.train.dataset")
    assert copied.text == "${dataset}"
    assert found["dataset.keep_negatives"].kind == "declared"
    assert found["train.batch"].kind == "undeclared"
    steps = found["train.max_iter"]
    assert (steps.old, steps.new, steps.source) == (15900, 8000, "train.max_iter")
    assert steps.text.startswith("${iterations:")
    sizes, momentum = found["model.sizes"], found["optimizer.momentum"]
    assert (sizes.old, sizes.new) == ([[8], [16]], [[8], [3]]), "lists are shown whole"
    assert (momentum.old, momentum.new) == (MISSING, 0.9)
    same = load_config(write_child(root, "same", "train.images = 1271", "train.tiny = 1"))
    assert [c.key for c in changes(parent, same, [])] == ["train.tiny"], "types count"


def test_ancestors_up_to_the_baseline(root: Path) -> None:
    write_child(root, "first", "optimizer.lr = 0.01", factors=["optimizer.lr"])
    write_child(root, "second", "train.batch = 16", factors=["train.batch"], file="first",
                parent="ofat_first")  # fmt: skip
    family = Family(OFAT, root)
    check_study(family, find_experiments(OFAT, root))
    line = family.ancestors(family.load("second"))
    assert [cfg.experiment.name for cfg in line] == ["ofat_first", "ofat_baseline"]
    assert [cfg.optimizer.lr for cfg in line] == [0.01, 0.001]
    write_child(root, "a", "optimizer.lr = 0.1", factors=["optimizer.lr"], parent="ofat_b")
    write_child(root, "b", "optimizer.lr = 0.2", factors=["optimizer.lr"], parent="ofat_a")
    family = Family(OFAT, root)
    with pytest.raises(ConfigError, match="ofat_a -> ofat_b -> ofat_a"):
        family.ancestors(family.load("a"))


def test_wrong_families(root: Path, write_config: WriteConfig) -> None:
    write_child(root, "orphan", "optimizer.lr = 0.1", factors=["optimizer.lr"],
                parent="ofat_basline")  # fmt: skip
    write_config("founder", "experiment.factors = ['optimizer.lr']")
    write_config("copied").rename(root / "configs/ofat/renamed.py")
    write_config("broken", "1 / 0")
    with pytest.raises(ConfigError) as caught:
        check_study(Family(OFAT, root), find_experiments(OFAT, root))
    broken, founder, orphan, renamed = sorted(str(caught.value).splitlines())[-4:]
    assert "broken.py, line" in broken and "ZeroDivisionError" in broken
    assert "ofat_founder: it declares the factors optimizer.lr but no experiment.parent" in founder
    assert "no such experiment. Did you mean 'ofat_baseline'?" in orphan
    assert "declares itself as ofat_copied of the study ofat" in renamed


def test_experiments_are_found_by_either_name(root: Path) -> None:
    write_child(root, "ofat_lr", "optimizer.lr = 0.1", factors=["optimizer.lr"])
    for name, run_name in (("ofat_lr", "ofat_lr"), ("ofat_baseline", "ofat_baseline"),
                           ("baseline", "ofat_baseline")):  # fmt: skip
        family, found = find_experiment(name, root)
        assert (family.study, found) == (OFAT, run_name)
    with pytest.raises(ValueError, match=r"no experiment 'ofat_lrr'\. Did you mean 'ofat_lr'"):
        find_experiment("ofat_lrr", root)
    with pytest.raises(ValueError, match="no experiment 'baseline' at toy size"):
        find_experiment("baseline", root, debug=True)


def test_diff_shows_what_is_declared_and_what_follows(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_child(root, "first", "optimizer.lr = 0.01", factors=["optimizer.lr"])
    write_child(root, "second", "train.batch = 16", "dataset.keep_negatives = False",
                factors=["train.batch", "dataset.keep_negatives"], file="first",
                parent="ofat_first")  # fmt: skip
    assert cli.main(["diff", "ofat_second"], root) == 0
    out = capsys.readouterr().out
    parent, baseline = out.split("Against its ")[1:]
    assert out.startswith("ofat_second (bundle: train.batch, dataset.keep_negatives = baseline)")
    assert parent.startswith("parent ofat_first:") and "optimizer.lr" not in parent
    assert baseline.startswith("baseline ofat_baseline:")
    assert any(line.split() == ["optimizer.lr", "0.001", "->", "0.01"]
               for line in baseline.splitlines())  # fmt: skip
    declared, derived = parent.split("derived")
    assert "train.batch" in declared and "8 -> 16" in declared
    assert "train.max_iter" in derived and "15900 -> 8000" in derived
    assert "1 value of ${dataset}" in derived


def test_diff_of_a_config_that_is_not_allowed(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_child(root, "bad", "optimizer.lr = 0.1", "train.tiny = 0.5", factors=["optimizer.lr"])
    assert cli.main(["diff", "bad"], root) == 1
    out = capsys.readouterr().out
    assert "NOT DECLARED\n    train.tiny  1e-08 -> 0.5" in out
    assert "Not allowed: it differs from its parent in train.tiny" in out
    assert cli.main(["diff", "baseline"], root) == 0
    assert "it has no parent" in capsys.readouterr().out
    assert cli.main(["diff", "baselin"], root) == 2
