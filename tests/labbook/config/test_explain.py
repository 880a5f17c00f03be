"""Which line gave a value, through functions, imports, parents and the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from family_toys import write_child
from labbook_toys import CONFIG

from labbook import cli
from labbook.config.lineage import Family
from labbook.config.load import save_config
from labbook.config.origins import Origin, trace_origins
from labbook.config.source_lines import source_line, written_at
from labbook.config.studies import get_study
from runfolder.records import finish_record, start_record

WriteConfig = Callable[..., Path]

TOY = """
from detectron2.config import LazyConfig


def toy(name):
    cfg = LazyConfig.load_rel(f"../ofat/{name}.py")
    cfg.experiment.study = "ofat-debug"
    for key in ("epochs", "batch"):
        cfg.train[key] = 2
    cfg.dataset.generate = dict(
        train=3,
    )
    return cfg
"""
TWIN = "from .._toy import toy\n\nglobals().update(toy('{name}'))\n"
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
    """A baseline, bricks, a child and a grandchild, and a toy-size twin of the child."""
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
    (configs / "debug" / "ofat").mkdir(parents=True)
    (configs / "debug" / "_toy.py").write_text(TOY)
    for name in ("baseline", "child"):
        (configs / "debug" / "ofat" / f"{name}.py").write_text(TWIN.format(name=name))
    return tmp_path


def line_of(path: Path, text: str) -> str:
    """``<file>:<number of the first line that holds the text>``."""
    lines = path.read_text().splitlines()
    return f"{path.name}:{next(n for n, line in enumerate(lines, 1) if text in line)}"


def at(origin: Origin) -> str:
    return f"{origin.place.file.name}:{origin.place.line}"


def handed_on(origin: Origin) -> list[str]:
    return [f"{place.file.name}:{place.line}" for place in origin.taken_over]


def explained(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["explain", *words], root) == 0
    return capsys.readouterr().out


def test_a_value_that_the_baseline_sets(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline, child = (root / "configs/ofat" / name for name in ("baseline.py", "child.py"))
    origin = trace_origins(child)["train.images"]
    assert at(origin) == line_of(baseline, "images=1271")
    assert handed_on(origin) == [line_of(child, "globals()")]
    assert origin.before is None
    lines = explained(root, capsys, "child", "train.images").splitlines()
    assert lines[0] == "train.images = 1271"
    assert lines[1].split() == ["set", "by", f"configs/ofat/{at(origin)}"]
    assert "images=1271, epochs=100" in lines[2]
    assert "parents       ofat_baseline has 1271" in lines[-2]
    assert "command line  nothing given" in lines[-1]


def test_a_value_that_a_child_moves(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = root / "configs/ofat/child.py"
    origin = trace_origins(child)["optimizer.lr"]
    assert (at(origin), origin.value) == (line_of(child, "optimizer.lr"), 0.01)
    assert origin.before is not None
    assert (at(origin.before), origin.before.value) == (line_of(child.with_name("baseline.py"),
                                                                "lr=1e-3"), 0.001)  # fmt: skip
    text = explained(root, capsys, "ofat_child", "optimizer.lr")
    assert f"instead of    0.001, configs/ofat/{at(origin.before)}" in text


def test_bricks_by_another_name_and_functions(root: Path) -> None:
    """Equal values of other bricks do not mislead."""
    bricks, child = root / "configs/common/bricks.py", root / "configs/ofat/grandchild.py"
    origins = trace_origins(child)
    assert at(origins["optimizer.lr"]) == line_of(bricks, "sgd =")
    assert handed_on(origins["optimizer.lr"]) == [line_of(child, "import sgd")]
    assert at(origins["model.inner.classes"]) == line_of(bricks, "classes=1")
    assert handed_on(origins["model.inner.classes"]) == [line_of(child, "model.inner")]
    assert at(origins["model.inner.sizes"]) == line_of(bricks, "sizes=")
    assert at(origins["train.images"]) == line_of(child, "images=10")
    assert not [key for key in origins if key.startswith("optimizer.betas")]


def test_a_helper_of_toy_size(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy, twin = root / "configs/debug/_toy.py", root / "configs/debug/ofat/child.py"
    origins = trace_origins(twin)
    assert at(origins["train.batch"]) == line_of(toy, "cfg.train[key]")
    assert handed_on(origins["train.batch"]) == [line_of(twin, "toy('child')")]
    assert at(origins["dataset.generate.train"]) == line_of(toy, "train=3")
    assert at(origins["optimizer.lr"]) == line_of(root / "configs/ofat/child.py", "optimizer.lr")
    assert handed_on(origins["optimizer.lr"]) == [
        line_of(toy, "load_rel"), line_of(twin, "toy('child')"),
    ]  # fmt: skip
    text = explained(root, capsys, "child", "train.batch", "--debug")
    assert "train.batch = 2" in text and "configs/debug/_toy.py" in text
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
    assert "train.device" not in trace_origins(root / "configs/ofat/child.py")
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
    cfg = Family(get_study("ofat"), root, ["train.batch=16"]).load("child")
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


def test_tracing_leaves_no_trace(root: Path) -> None:
    def earlier(*_: object) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(earlier)
    try:
        trace_origins(root / "configs/ofat/child.py")
        assert sys.gettrace() is earlier
    finally:
        sys.settrace(before)


@pytest.mark.parametrize(
    ("line", "key", "expected"),
    [
        (1, "model.depth", 1),
        (1, "model.backbone.depth", 3),
        (3, "model.backbone.depth", 3),
        (1, "model.options.a", 5),
        (1, "model.options.b", 1),
        (1, "model.sizes", 6),
        (9, "cfg.train.epochs", 10),
        (12, "cfg.x", 12),
        (99, "cfg.x", 99),
    ],
)
def test_the_line_inside_a_statement(tmp_path: Path, line: int, key: str, expected: int) -> None:
    path = tmp_path / "config.py"
    path.write_text(
        "model = L(Net)(\n    backbone=L(ViT)(\n        depth=2,\n    ),\n    options={'a': 1},\n"
        "    sizes=[[1], [2]],\n)\nif True:\n    cfg.train.update(\n        epochs=3,\n    )\n"
        "    cfg.x = 1\n"
    )
    assert written_at(path, line, key) == expected
    assert source_line(path, 3) == "depth=2,"
    assert source_line(path, 99) == ""


def test_the_toy_config_is_explained_whole(root: Path) -> None:
    """Each key that the file writes has an origin in it, with the value that it has there."""
    origins = trace_origins(root / "configs/ofat/baseline.py")
    family = Family(get_study("ofat"), root)
    assert origins["train.images"].value == family.load("baseline").train.images
    sections = {"experiment", "train", "dataset", "dataloader", "evaluation", "optimizer",
                "lr_multiplier", "model"}  # fmt: skip
    assert {key.split(".")[0] for key in origins} == sections | {"_helper"}
    assert all(1 < origin.place.line <= CONFIG.count("\n") for origin in origins.values())


def test_comprehensions_are_left_alone(root: Path) -> None:
    """Python 3.12 runs them in the frame of the file; a look at its locals spoils them."""
    lines = [
        "def _doubled(names):",
        "    pairs = {name: 2 * number for number, name in enumerate(names)}",
        "    return pairs",
        "_names = ('a', 'b')",
        "_sizes = _doubled(_names)",
        "_splits = {",
        "    name:",
        "    split",
        "    for name, split in zip(_names, ('val', 'test'))",
        "}",
        "train.images = _sizes['b']",
    ]
    write_child(root, "many", *lines, factors=["train.images"])
    path = root / "configs/ofat/many.py"
    origins = trace_origins(path)
    found = {key: (origin.value, at(origin)) for key, origin in origins.items()}
    assert found["_sizes.a"] == (0, line_of(path, "pairs ="))
    assert found["_splits.a"] == ("val", line_of(path, "_splits ="))
    assert found["_splits.b"] == ("test", line_of(path, "_splits ="))
    assert found["train.images"] == (2, line_of(path, "train.images"))
