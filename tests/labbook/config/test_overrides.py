"""``key=value`` on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from labbook.config.load import ConfigError, load_config, to_plain
from labbook.config.overrides import assignment

WriteConfig = Callable[..., Path]


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.batch=2", "train.max_iter", 63600),
        ("train.max_iter=10", "lr_multiplier.milestones", [7]),
        ("train.batch=2", "dataloader.train.batch", 2),
        ("dataset.classes=[a,b]", "model.classes", 2),
        ("dataset.root='a b/c'", "dataset.root", "a b/c"),
        ("dataloader.train.batch=3", "dataloader.train.batch", 3),
        ("dataloader.train.workers=3", "dataloader.workers", 2),  # nothing refers to it any more
        ("model.sizes.1=[32]", "model.sizes", [[8], [32]]),
        ("train.tiny=1e-12", "train.tiny", 1e-12),
        ("train.tiny=1", "train.tiny", 1),
        ("dataset.generate={train:8}", "dataset.generate", {"train": 8}),
        ("++train.epochs=1", "train.epochs", 1),
        ("dataset.keep_negatives=false", "dataset.keep_negatives", False),
        ("+optimizer.amsgrad=true", "optimizer.amsgrad", True),
        ("+dataloader.train.anything=1", "dataloader.train.anything", 1),  # takes **options
        ("model.inner={_target_:labbook_toys.Box,sizes:[],classes:1}", "model.inner.classes", 1),
    ],
)
def test_values_arrive_and_dependants_follow(
    write_config: WriteConfig, override: str, key: str, value: object
) -> None:
    found = to_plain(load_config(write_config(), [override]))
    for part in key.split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.max_itre=5", "no key 'train.max_itre'. Did you mean 'train.max_iter'"),
        ("trian.epochs=5", "Did you mean 'train.epochs'"),
        ("optimiser=5", "Did you mean 'optimizer'"),
        ("optimizer.amsgrad=true", r"AdamW takes it, though; to add it, write '\+optimizer"),
        ("+optimizer.amsgard=true", "Did you mean 'amsgrad'"),
        ("+train.epochs=5", "exists already"),
        ("train.images=abc", r"train.images is 'abc' \(str\), but .* expects int"),
        ("train.images=null", "train.images is None"),
        ("dataset.keep_negatives.x=1", "no key"),
        ("train.epochs.x=1", "train.epochs is 100 and has no keys below it"),
        ("+dataloader.train.dataset.root=x", "train.dataset is '.{dataset}' and has no keys"),
        ("~train.epochs", "deleting a key is not supported"),
        ("train.epochs=1,2", "sweeps or packages"),
        ("train.epochs", "not of the form key=value"),
        (f"train.epochs={'9' * 5000}", r"9\.\.\.' is not of the form key=value: .* digits"),
        (f"train.epochs={'[' * 1000}1{']' * 1000}", "not of the form key=value: .* recursion"),
        ("model.sizes.9=[1]", "no key 'model.sizes.9'"),
        ("optimizer._target_=torch.optim.SGD", "optimizer.betas is not an argument of torch"),
        ("+dataloader.worker=0", "Nothing reads dataloader.worker. Did you mean 'dataloader.work"),
    ],
)
def test_wrong_overrides(write_config: WriteConfig, override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(write_config(), [override])


@pytest.mark.parametrize("text", ["a b/run (2)", "it's", "back\\slash", "", "[1]{y:2},=~+"])
def test_an_assignment_keeps_any_text(write_config: WriteConfig, text: str) -> None:
    cfg = load_config(write_config(), [assignment("dataset.root", text)])
    assert cfg.dataset.root == text
