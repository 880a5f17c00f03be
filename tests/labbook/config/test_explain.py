"""Which line gave a value, through functions, imports, parents and the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from family_toys import write_child
from labbook_toys import STUDIES

from labbook import cli
from labbook.config.lineage import Family
from labbook.config.load import save_config
from labbook.config.sources import find_assignments
from runfolder.records import finish_record, start_record

WriteConfig = Callable[..., Path]

TOY = """
from detectron2.config import LazyConfig


def toy(name):
    cfg = LazyConfig.load_rel(f"../ofat/{name}.py")
    for key in ("epochs", "batch"):
        cfg.train[key] = 2
    cfg.dataset.generate = dict(
        train=3,
    )
    return cfg
"""
BRICKS = """
import torch
from detectron2.config import LazyCall as L
from labbook_toys import Box

adam = L(torch.optim.Adam)(params="???", lr=0.001, eps=1e-8)
sgd = L(torch.optim.SGD)(params="???", lr=0.001, momentum=0.9)


def box(size):
    return L(Box)(
        sizes=[[size]],
        classes=1,
    )
"""


@pytest.fixture
def root(write_config: WriteConfig, tmp_path: Path) -> Path:
    """A baseline, bricks, a child and a grandchild, and how the toy versions are made."""
    write_config("baseline")
    configs = tmp_path / "configs"
    (configs / "common").mkdir()
    (configs / "common" / "bricks.py").write_text(BRICKS)
    write_child(tmp_path, "child", "optimizer.lr = 0.01", factors=["optimizer.lr"])
    write_child(
        tmp_path, "grandchild",
        "from ..common.bricks import sgd as optimizer",
        "from ..common.bricks import box as _box",
        "model.inner = _box(4)",
        "train.update(",
        "    epochs=7,",
        "    images=10,",
        ")",
        factors=["optimizer", "model.inner", "train.epochs", "train.images"],
        file="child", parent="ofat_child",
    )  # fmt: skip
    (configs / "debug").mkdir()
    (configs / "debug" / "_ofat.py").write_text(TOY)
    return tmp_path


def line_of(path: Path, text: str) -> str:
    """``<file>:<number of the first line that holds the text>``."""
    lines = path.read_text().splitlines()
    return f"{path.name}:{next(n for n, line in enumerate(lines, 1) if text in line)}"


def places(config: Path, key: str) -> list[str]:
    """``<file>:<line>`` of all lines that assign a key, what holds first."""
    return [f"{found.file.name}:{found.line}" for found in find_assignments(config, key)]


def explained(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["explain", *words], root) == 0
    return capsys.readouterr().out


def test_a_value_that_the_baseline_sets(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline, child = (root / "configs/ofat" / name for name in ("baseline.py", "child.py"))
    (place,) = places(child, "train.images")
    assert place == line_of(baseline, "images=1271")
    lines = explained(root, capsys, "child", "train.images").splitlines()
    assert lines[0] == "train.images = 1271"
    assert lines[1].split() == ["set", "by", f"configs/ofat/{place}"]
    assert "images=1271, epochs=100" in lines[2]
    assert "parents       ofat_baseline has 1271" in lines[-2]
    assert "command line  nothing given" in lines[-1]


def test_a_value_that_a_child_moves(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = root / "configs/ofat/child.py"
    own, earlier = places(child, "optimizer.lr")
    assert own == line_of(child, "optimizer.lr")
    assert earlier == line_of(child.with_name("baseline.py"), "lr=1e-3")
    text = explained(root, capsys, "ofat_child", "optimizer.lr")
    assert f"instead of    0.001, configs/ofat/{earlier}" in text


def test_bricks_by_another_name_and_functions(root: Path) -> None:
    bricks, child = root / "configs/common/bricks.py", root / "configs/ofat/grandchild.py"
    assert places(child, "optimizer.lr")[0] == line_of(bricks, "sgd =")
    assert places(child, "model.inner.classes") == [line_of(bricks, "classes=1")]
    assert places(child, "model.inner.sizes") == [line_of(bricks, "sizes=")]
    assert places(child, "train.images")[0] == line_of(child, "images=10")
    assert places(child, "optimizer.betas") == [], "the new brick has none"


def test_a_toy_version(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy, version = root / "configs/debug/_ofat.py", root / "configs/debug/ofat/child.py"
    assert places(version, "train.batch")[0] == line_of(toy, "cfg.train[key]")
    assert places(version, "dataset.generate.train") == [line_of(toy, "train=3")]
    assert places(version, "optimizer.lr")[0] == line_of(
        root / "configs/ofat/child.py", "optimizer.lr"
    )
    text = explained(root, capsys, "child", "train.batch", "--debug")
    assert "train.batch = 2" in text and "configs/debug/_ofat.py" in text
    assert "ofat_baseline has 2" in text


def test_an_interpolation_and_what_it_refers_to(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = explained(root, capsys, "child", "lr_multiplier.milestones")
    assert "lr_multiplier.milestones = [11130]" in text
    baseline = root / "configs/ofat/baseline.py"
    for key, value, written in (
        ("train.max_iter", 15900, "max_iter="),
        ("train.epochs", 100, "epochs=100"),
        ("train.batch", 8, "batch=8"),
    ):
        assert f"{key} = {value}   (configs/ofat/{line_of(baseline, written)})" in text
    text = explained(root, capsys, "child", "dataset.root")
    assert "written as    ${oc.env:NO_SUCH_VARIABLE,here}/coco" in text
    assert "NO_SUCH_VARIABLE of the environment: not set" in text
    monkeypatch.setenv("NO_SUCH_VARIABLE", "there")
    assert "of the environment: there" in explained(root, capsys, "child", "dataset.root")


def test_a_key_below_an_interpolation_is_followed(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = explained(root, capsys, "child", "dataloader.train.dataset.classes").splitlines()
    assert lines[:2] == [
        "dataloader.train.dataset is ${dataset}, so this is",
        "dataset.classes = ['head']",
    ]


def test_defaults(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert places(root / "configs/ofat/child.py", "train.device") == []
    text = explained(root, capsys, "child", "train.device")
    assert "set by        no config file: the default of labbook_toys.Settings" in text
    text = explained(root, capsys, "child", "optimizer.amsgrad")
    assert text.startswith("optimizer.amsgrad is not set\n  default       False, of torch.optim")


def test_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("optimizer.lr", "optimizer.lr=0.5")
    text = explained(root, capsys, "child", *words)
    assert text.startswith("optimizer.lr = 0.5\n  set by        the command line, optimizer.lr=0.5")
    assert "instead of    0.01, configs/ofat/child.py" in text
    assert "command line  optimizer.lr=0.5 changes it; the files say 0.01" in text
    text = explained(root, capsys, "child", "train.max_iter", "train.batch=16")
    assert "train.batch = 16   (the command line)" in text
    assert "changes it through train.batch=16; the files say 15900" in text
    text = explained(root, capsys, "child", "optimizer.lr", "train.batch=16")
    assert "command line  does not change it" in text
    text = explained(root, capsys, "child", "optimizer.amsgrad", "+optimizer.amsgrad=true")
    assert "the command line, +optimizer.amsgrad=true" in text and "the files say absent" in text


def test_what_its_run_had(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = root / "work_dirs" / "ofat_child"
    cfg = Family(STUDIES["ofat"], root, ["train.batch=16"]).load("child")
    save_config(cfg, folder)
    start_record(folder, ["train.py", "--config-file", "child.py", "train.batch=16"])
    finish_record(folder, "failed", "a reason")
    text = explained(root, capsys, "child", "train.max_iter")
    assert "its run       work_dirs/ofat_child (failed) has 8000; command line train.batch" in text


def test_a_section_lists_what_it_holds(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(root, capsys, "child", "optimizer").splitlines()
    assert lines[0] == "optimizer holds"
    assert any(line.startswith("  optimizer.lr = 0.01   (configs/ofat/child.py:") for line in lines)
    assert any(line.startswith("  optimizer.betas = [0.9, 0.999]   (") for line in lines)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("child", "optimizer.lrr"), "no key 'optimizer.lrr'. Did you mean 'optimizer.lr'"),
        (("child", "optimizer.amsgard"), "Did you mean 'optimizer.amsgrad'"),
        (("child", "trian.epochs"), "Did you mean 'train.epochs'"),
        (("child", "dataset.root.x"), "no key 'dataset.root.x'"),
        (("child", "model.sizes.9"), "no key 'model.sizes.9'"),
        (("chlid", "train.epochs"), "Did you mean 'child'"),
        (("child", "train.epochs", "train.epoch=3"), "Did you mean 'train.epochs'"),
    ],
)
def test_unknown_keys_and_names(
    root: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    assert cli.main(["explain", *words], root) == 2
    assert sentence in capsys.readouterr().err


WAYS = """
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from labbook_toys import Box
from ..common.bricks import box, sgd as optimizer, adam
import copy

_base = "baseline.py"
globals().update(LazyConfig.load_rel(_base))
train, _two = dict(batch=1, images=2), 2
del dataset.tags
model = L(Box)(
    inner=L(Box)(
        sizes=[[1], [2]],
        **dict(classes=3),
    ),
    options={
        "a": 1,
        **_more(),
    },
    classes=copy.copy(_two),
)
inner, outer = model.inner, model
inner.classes = 4
outer.update({"sizes": []}, level=[
    dict(x=1),
    dict(x=2),
])
lr_multiplier = outer.level
lr_multiplier[0].x = 3
for part in (train, model.inner):
    part.seed = 0
for name in ("batch", "epochs"):
    train[name] += 1
if _two:
    model["inner"]["tags"] = (1, 2)
splits = {
    name: L(Box)(classes=1)
    for name in ("a", "b")
}
"""


@pytest.mark.parametrize(
    ("key", "texts"),
    [
        ("lr_multiplier.0.x", ["lr_multiplier[0].x = 3", "dict(x=1),"]),
        ("lr_multiplier.1.x", ["dict(x=2),"]),
        ("model.level.0.x", ["lr_multiplier[0].x = 3", "dict(x=1),"]),
        ("train.images", ["train, _two = dict(batch=1, images=2), 2", "output_dir="]),
        ("train.batch", ["train[name] += 1", "train, _two ="]),
        ("train.epochs", ["train[name] += 1"]),
        ("train.max_iter", []),  # the new section has none
        ("dataset.tags", []),  # deleted
        ("model.inner.sizes", ["sizes=[[1], [2]],"]),
        ("model.inner.classes", ["inner.classes = 4", "**dict(classes=3),"]),
        ("model.inner.seed", ["part.seed = 0"]),
        ("model.inner.tags", ['model["inner"]["tags"] = (1, 2)']),
        ("model.options.a", ['"a": 1,']),
        ("model.level.1.x", ["dict(x=2),"]),
        ("model.sizes", ['outer.update({"sizes": []}, level=[']),
        ("splits.b.classes", ["name: L(Box)(classes=1)"]),
        ("optimizer.momentum", ["sgd = L(torch.optim.SGD)"]),
    ],
)
def test_what_config_files_do(root: Path, key: str, texts: list[str]) -> None:
    path = root / "configs/ofat/ways.py"
    path.write_text(WAYS)
    found = [one.text for one in find_assignments(path, key)]
    assert len(found) >= len(texts) and bool(found) is bool(texts)
    assert all(text.startswith(start) for text, start in zip(found, texts, strict=False)), found
