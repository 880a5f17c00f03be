"""Strict loading: whatever is wrong in a config is a sentence before anything is built."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import SupportsInt

import pytest
import torch
from detectron2.config import instantiate
from labbook_toys import CONFIG

from labbook.config.load import ConfigError, load_config, save_config, to_plain
from labbook.config.resume import config_changes
from labbook.config.signatures import check_calls, fits
from smalldet.data.splits import Generator

WriteConfig = Callable[..., Path]
END = CONFIG.count("\n") + 1
"""The line of a config that its first added line is on."""


def test_a_good_config_loads_with_live_interpolations(write_config: WriteConfig) -> None:
    cfg = load_config(write_config("baseline", "del model['inner']"))
    assert cfg.train.max_iter == 15900
    assert cfg.lr_multiplier.milestones == [11130]
    assert cfg.dataset._target_ == "labbook_toys.Data"
    assert "_helper" not in cfg
    cfg.train.batch = 16
    assert (cfg.train.max_iter, cfg.dataloader.train.batch) == (8000, 16)
    with pytest.raises(Exception, match="max_itre"):
        cfg.train.max_itre = 5
    # What the file leaves out of settings objects is written out.
    assert (cfg.train.device, cfg.train.resume_from) == ("auto", None)
    assert (cfg.dataset.tags, cfg.experiment.targets) == ([], {})
    assert "inner" not in cfg.model  # a class that does things is no settings object


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("datasets = dict()", "'datasets' is not one of the sections .* Did you mean 'dataset'"),
        ("del model", "It lacks model"),
        ("dataset.clases = []", r"dataset.clases is not an argument .* Did you mean 'classes'"),
        ("del train['output_dir']", r"train.output_dir is missing: labbook_toys.Settings needs it"),
        ("train.images = 'abc'", r"train.images is 'abc' \(str\), but .* expects int there"),
        ("train.images = 1.5", r"train.images is 1.5 \(float\)"),
        ("train.images = True", r"train.images is True \(bool\)"),
        ("train.device = 'gpu'", r"train.device is 'gpu'"),
        ("train.output_dir = None", r"train.output_dir is None"),
        ("dataset.classes = 'head'", r"dataset.classes is 'head'"),
        ("dataset.generate = dict(train='many')", r"dataset.generate"),
        ("dataloader['train'].dataset = dict(root='x')", r"dataloader.train.dataset is"),
        ("model.inner = L(Box)(sizes=[])", r"model.inner.classes is missing"),
        ("model.sizes = [dict(_target_='labbook_toys.Bax')]", r"sizes.0._target_ .*Mean 'Box'"),
        ("model._target_ = 'no_such_module.Box'", "no module 'no_such_module'"),
        ("model._target_ = 'labbook_toys.CONFIG'", "cannot be called"),
        ("model._target_ = lambda: 1", "cannot be imported by name"),
        ("model.inner = lambda x: x", "model.inner is .* a live object of type function"),
        ("model.inner = torch.nn.ReLU()", "model.inner is .* a live object of type ReLU"),
        ("model.inner = '${train.epoch}'", "model.inner: .*train.epoch"),
        ("train.epochs = 0", "train.max_iter: .*iterations needs an integer of at least 1"),
        ("optimizer._target_ = torch.optim.SGD", "optimizer.betas is not an argument of torch"),
        ("dataloader['worker'] = 0", "Nothing reads dataloader.worker. .* 'dataloader.workers'"),
        ("dataloader['vaild'] = dataloader['train']", "vaild. Did you mean 'dataloader.valid'"),
        ("evaluation['train'] = evaluation['valid']", "Nothing reads evaluation.train"),
        ("dataloader['train'].workers = 0", "Nothing reads dataloader.workers"),
    ],
)
def test_wrong_configs(write_config: WriteConfig, line: str, sentence: str) -> None:
    path = write_config("baseline", line)
    with pytest.raises(ConfigError, match=f"(?i){sentence}") as caught:
        load_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["train = = 3"], r"Line \d+: invalid syntax"),
        (["1 / 0"], rf"broken.py, line {END}: ZeroDivisionError"),
        (["from .missing import x"], rf"broken.py, line {END}: ImportError"),
        (["from .other import x"], r"other.py, line 2: ValueError: inside"),
    ],
)
def test_a_failing_file_is_named_with_its_line(
    write_config: WriteConfig, lines: list[str], sentence: str
) -> None:
    path = write_config("broken", *lines)
    (path.parent / "other.py").write_text("\nraise ValueError('inside')\n")
    with pytest.raises(ConfigError, match=sentence):
        load_config(path)


def test_a_failing_file_leaves_the_interpreter_clean(write_config: WriteConfig) -> None:
    genuine = builtins.__import__
    good, child = write_config("baseline"), write_config("child")
    child.write_text(
        "from detectron2.config import LazyConfig\n"
        "globals().update(LazyConfig.load_rel('baseline.py'))\noptimizer.lr = 0.01\n"
    )
    broken = write_config("broken")
    broken.write_text(child.read_text() + "globals().update(LazyConfig.load_rel('worse.py'))\n")
    write_config("worse", "1 / 0")
    before = to_plain(load_config(good))
    with pytest.raises(ConfigError, match=rf"worse.py, line {END}: ZeroDivisionError"):
        load_config(broken)
    assert builtins.__import__ is genuine
    assert to_plain(load_config(good)) == before
    assert load_config(child).optimizer.lr == 0.01
    assert builtins.__import__ is genuine


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("configs/ofat/baselin_lr0.001.py", "Did you mean 'baseline_lr0.001.py'"),
        ("configs/debug/ofat/baselin_lr0.001.py", "Did you mean 'baseline_lr0.001.py'"),
        ("configs/debug/ofat/baseline_lr0.001.py", "debug/_ofat.py is missing"),
        ("config.txt", "expected a .py or .yaml"),
        ("config.yaml", "not plain YAML"),  # it would build objects
    ],
)
def test_missing_and_foreign_files(
    write_config: WriteConfig, tmp_path: Path, path: str, sentence: str
) -> None:
    write_config("baseline_lr0.001")
    (tmp_path / "config.yaml").write_text("train: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match=sentence):
        load_config(tmp_path / path)


FOREIGN = """
from functools import partial
import torch
from detectron2.config import LazyCall as L
from omegaconf import OmegaConf
from torch import nn
from labbook_toys import Box

dataloader = OmegaConf.create()
dataloader.train = L("labbook_toys.Box")(classes=3, sizes=(1, 2))
dataloader.size = 3
dataloader.half = 1
dataloader.test = L(Box)(classes="${..size}", sizes=[])
train = dict(max_iter=10, amp=dict(enabled=False))
fast_dev_run = dict(enabled=True)
optimizer = L(torch.optim.SGD)(lr=0.1)  # without its params
model = L(nn.Conv2d)(in_channels=1, out_channels=2, kernel_size=3)
parts = [L(nn.Linear)(in_features=2.0, out_features=3)]
norms = dict(norm=partial(nn.LayerNorm, eps=1e-6), act=nn.ReLU)
"""
LIVE_LINES = "\nmodel.bias = lambda: 1\nnorms['act'] = [nn.ReLU(), 2]\n"


def test_a_config_of_detectron2s_loads_and_reloads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "foreign.py").write_text(FOREIGN)
    cfg = load_config(
        tmp_path / "foreign.py", ["train.amp.enabled=true", "norms.norm.kwargs.eps=1"]
    )
    assert len(caplog.messages) == 1
    for key in ("fast_dev_run", "norms", "dataloader.half"):
        assert key in caplog.messages[0]
    assert "dataloader.size" not in caplog.messages[0]
    assert cfg.train.amp.enabled is True
    save_config(cfg, tmp_path)
    reloaded = load_config(tmp_path / "config.yaml")
    assert to_plain(reloaded) == to_plain(cfg)
    assert len(caplog.messages) == 1
    for node in (cfg.norms, to_plain(reloaded)["norms"]):  # by either version's instantiate
        norm, act = instantiate(node["norm"]), instantiate(node["act"])
        assert (norm(4).eps, act) == (1, torch.nn.ReLU)
    assert isinstance(instantiate(to_plain(reloaded)["model"]), torch.nn.Conv2d)


def test_live_objects_run_but_the_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "foreign.py").write_text(FOREIGN + LIVE_LINES)
    cfg = load_config(tmp_path / "foreign.py")
    plain = to_plain(cfg)
    assert plain["model"]["bias"]() == 1
    assert isinstance(plain["norms"]["act"][0], torch.nn.ReLU)
    save_config(cfg, tmp_path)
    for name in ("config.yaml", "config_source.yaml"):
        with pytest.raises(ConfigError, match=r"model\.bias, norms\.act\.0"):
            load_config(tmp_path / name)
    assert "ReLU()" in (tmp_path / "config.yaml").read_text()
    again = load_config(tmp_path / "foreign.py")
    assert config_changes(again, tmp_path) == {}  # so it can be resumed from its file
    again.norms.act[1] = 3
    assert config_changes(again, tmp_path) == {"norms.act.1": (2, 3)}


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.max_itre=1", "Did you mean 'train.max_iter'"),
        ("+dataloader.tset=1", "Nothing reads dataloader.tset. .*'dataloader.test'"),
        ("+datalaoder.x=1", "Did you mean 'dataloader'"),
        ("+model.kernel_sise=1", "model.kernel_sise is not an argument .* 'kernel_size'"),
    ],
)
def test_overrides_stay_strict_in_other_peoples_configs(
    tmp_path: Path, override: str, sentence: str
) -> None:
    (tmp_path / "foreign.py").write_text(FOREIGN)
    with pytest.raises(ConfigError, match=sentence):
        load_config(tmp_path / "foreign.py", [override])


LATER = ("head", "anchor_generator", "anchor_matcher", "box2box_transform", "in_features",
         "pre_nms_topk", "post_nms_topk")  # fmt: skip
RPN = {
    **dict.fromkeys(LATER, "???"),
    "_target_": "detectron2.modeling.proposal_generator.RPN",
    "batch_size_per_image": 256,
    "positive_fraction": 0.5,
}


def test_classes_with_detectron2s_configurable_constructor() -> None:
    check_calls({"model": RPN})
    with pytest.raises(ConfigError, match=r"model.nms_tresh .* Did you mean 'nms_thresh'"):
        check_calls({"model": {**RPN, "nms_tresh": 0.7}})
    rcnn = {"_target_": "detectron2.modeling.GeneralizedRCNN", "backbone": "???"}
    rcnn.update(roi_heads="???", proposal_generator=RPN, pixel_mean=[1.0, 2.0, 3.0])
    with pytest.raises(ConfigError, match=r"model.pixel_std is missing"):
        check_calls({"model": rcnn})
    check_calls({"model": {**rcnn, "pixel_std": [1, 1, 1]}})


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, True), (1.0, int, False), (True, int, False), (True, bool, True),
        (None, int | None, True), ("a", int | None, False), ("x", Path, True), (3, Path, False),
        ([1, 2], tuple[int, ...], True), ([1, "a"], list[int], False), ("ab", list[str], False),
        ({"a": 1}, dict[str, int], True), ({"a": "b"}, dict[str, int], False),
        ("???", int, True), ({"_target_": "x"}, int, True), (3, Callable, True),
        ({}, Generator | None, False), ({"_target_": "x"}, Generator, True), (3, SupportsInt, True),
    ],
)  # fmt: skip
def test_what_fits_an_annotation(value: object, hint: object, expected: bool) -> None:
    assert fits(value, hint) is expected
