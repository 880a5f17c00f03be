"""Which line gave a value, through functions, imports, parents and the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from family_toys import write_child

from labbook import cli
from labbook.config.sources import find_assignments

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
    """A baseline, bricks, a child, and how the toy versions are made."""
    write_config("baseline")
    configs = tmp_path / "configs"
    (configs / "common").mkdir()
    (configs / "common" / "bricks.py").write_text(BRICKS)
    write_child(tmp_path, "child", "optimizer.lr = 0.01", factors=["optimizer.lr"])
    (configs / "debug").mkdir()
    (configs / "debug" / "_ofat.py").write_text(TOY)
    return tmp_path


def with_lines(text: str, root: Path) -> str:
    """The text with ``<file|words>`` as ``configs/file:n``, n the first line with the words."""

    def place(found: re.Match[str]) -> str:
        lines = (root / "configs" / found[1]).read_text().splitlines()
        return (
            f"configs/{found[1]}:{next(n for n, line in enumerate(lines, 1) if found[2] in line)}"
        )

    return re.sub(r"<(\S+?)\|(.+?)>", place, text)


@pytest.mark.parametrize(
    ("words", "start", "others"),
    [
        ("child train.images", "train.images = 1271 set by <ofat/baseline.py|images=1271> output_d",
         ["images=1271, epochs=100", "parents ofat_baseline has 1271", "line nothing given"]),
        ("ofat_child optimizer.lr",
         "optimizer.lr = 0.01 set by <ofat/child.py|optimizer.lr> optimizer.lr = 0.01",
         ["instead of 0.001, <ofat/baseline.py|lr=1e-3>", "parents ofat_baseline has 0.001"]),
        ("child train.batch --debug", "train.batch = 2 set by <debug/_ofat.py|cfg.train[key]>",
         ["parents ofat_baseline has 2"]),
        ("child lr_multiplier.milestones", "lr_multiplier.milestones = [11130] written as",
         ["train.max_iter = 15900 (<ofat/baseline.py|max_iter=>)",
          "train.epochs = 100 (<ofat/baseline.py|epochs=100>)",
          "train.batch = 8 (<ofat/baseline.py|batch=8>)"]),
        ("child dataset.root",
         "dataset.root = here/coco written as ${oc.env:NO_SUCH_VARIABLE,here}/coco",
         ["NO_SUCH_VARIABLE of the environment: not set"]),
        ("child dataloader.train.dataset.classes",
         "dataloader.train.dataset is ${dataset}, so this is dataset.classes = ['head']", []),
        ("child train.device",
         "train.device = auto set by no config file: the default of labbook_toys.Settings", []),
        ("child optimizer.amsgrad", "optimizer.amsgrad is not set default False, of torch.opt", []),
        ("child optimizer", "optimizer holds",
         ["optimizer.lr = 0.01 (<ofat/child.py|optimizer.lr>)", "optimizer.betas = [0.9, 0.999]"]),
        ("child optimizer.lr optimizer.lr=0.5",
         "optimizer.lr = 0.5 set by the command line, optimizer.lr=0.5",
         ["instead of 0.01, <ofat/child.py|optimizer.lr>",
          "command line optimizer.lr=0.5 changes it; the files say 0.01"]),
        ("child train.max_iter train.batch=16", "train.max_iter = 8000",
         ["train.batch = 16 (the command line)", "train.batch=16 changes it; the files say 15900"]),
        ("child optimizer.lr train.batch=16", "optimizer.lr", ["command line does not change it"]),
        ("child optimizer.amsgrad +optimizer.amsgrad=true", "optimizer.amsgrad = True",
         ["the command line, +optimizer.amsgrad=true", "the files say absent"]),
    ],
)  # fmt: skip
def test_explanations(
    root: Path, capsys: pytest.CaptureFixture[str], words: str, start: str, others: list[str]
) -> None:
    assert cli.main(["explain", *words.split()], root) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(with_lines(start, root))
    for other in others:
        assert with_lines(other, root) in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("child optimizer.lrr", "no key 'optimizer.lrr'. Did you mean 'optimizer.lr'"),
        ("child optimizer.amsgard", "Did you mean 'optimizer.amsgrad'"),
        ("child trian.epochs", "Did you mean 'train.epochs'"),
        ("child dataset.root.x", "no key 'dataset.root.x'"),
        ("child model.sizes.9", "no key 'model.sizes.9'"),
        ("chlid train.epochs", "Did you mean 'child'"),
        ("child train.epochs train.epoch=3", "Did you mean 'train.epochs'"),
    ],
)
def test_unknown_keys_and_names(
    root: Path, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    assert cli.main(["explain", *words.split()], root) == 2
    assert sentence in capsys.readouterr().err


WAYS = """
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig
from labbook_toys import Box
import copy

_base = "baseline.py"
globals().update(LazyConfig.load_rel(_base))
from ..common.bricks import box as _box, sgd as optimizer, adam
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
model.update(
    made=_box(4),
    level_of=7,
)
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
        ("model.level.1.x", ["dict(x=2),"]),
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
        ("model.sizes", ['outer.update({"sizes": []}, level=[']),
        ("model.made.classes", ["classes=1,"]),  # in the function of another file
        ("model.made.sizes", ["sizes=[[size]],"]),
        ("model.level_of", ["level_of=7,"]),
        ("splits.b.classes", ["name: L(Box)(classes=1)"]),
        ("optimizer.momentum", ["sgd = L(torch.optim.SGD)"]),
        ("optimizer.betas", []),  # the new brick has none
        ("debug: train.batch", ["cfg.train[key] = 2", "train[name] += 1"]),
        ("debug: dataset.generate.train", ["train=3,"]),
        ("debug: optimizer.lr", ["sgd = L(torch.optim.SGD)"]),
    ],
)
def test_what_config_files_do(root: Path, key: str, texts: list[str]) -> None:
    (root / "configs/ofat/ways.py").write_text(WAYS)
    file = root / "configs" / ("debug/ofat" if key.startswith("debug: ") else "ofat") / "ways.py"
    found = [one.text for one in find_assignments(file, key.removeprefix("debug: "))]
    assert len(found) >= len(texts) and bool(found) is bool(texts)
    assert all(text.startswith(start) for text, start in zip(found, texts, strict=False)), found
