"""What a .yaml config may name: nothing else is imported, let alone called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import detectron2.model_zoo
import pytest
import torch
import yaml
from detectron2.config import instantiate
from omegaconf import OmegaConf

from labbook.config.load import ConfigError, load_config, read_config, to_plain
from labbook.config.plain import without_live
from labbook.config.resume import config_changes
from labbook.config.trees import written
from runfolder import trust

SECTIONS = ("model", "dataset", "dataloader.train", "optimizer", "lr_multiplier", "train",
            "evaluation.valid", "experiment", "hooks.0")  # fmt: skip
RUNNING = [
    "os.system", "posix.system", "subprocess.Popen", "subprocess.check_output", "torch.os.system",
    "torch.hub.load", "torch.load", "torch.serialization.load", "torch.utils.cpp_extension.load",
    "torch.utils.collect_env.run", "torch.jit.load", "torch.multiprocessing.Process",
    "torch.package.PackageImporter", "torch.testing._internal.common_utils.shell",
    "nativecode.compiler.compile_library", "nativecode.library.NativeLibrary",
    "smalldet.kernels.lstm_update.CheckedKernel", "runfolder.files.write_text",
    "builtins.eval", "eval", "builtins.exec", "operator.methodcaller", "functools.partial",
    "functools.reduce", "pydoc.locate", "importlib.import_module", "copyreg.__newobj_ex__",
    "hydra.utils.instantiate", "detectron2.config.LazyConfig.load", "detectron2.config.instantiate",
    "detectron2.model_zoo.get_config", "detectron2.utils.registry.locate",
    "detectron2.checkpoint.DetectionCheckpointer", "torchvision.datasets.LSUN",
    "torch.utils.data.datapipes.iter.routeddecoder.RoutedDecoderIterDataPipe",
    "timm.data.ImageDataset", "console.main.main", "labbook.cli.main", "smalldet.load",
    "labbook.config.load.load_config", "torch.nn.Module.load_state_dict", "torch.nn", "torch",
]  # fmt: skip
ODD = ["", "os. system", "torch.nn.ReLU()", "torch.nn.__builtins__.eval", "${oc.env:TARGET}", ".os",
       3, None, [1], "torch.nn.ReLU\n"]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_trusted", set())


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is written as soon as the module ``writes_on_import`` is imported."""
    written = tmp_path / "written"
    text = f"open({str(written)!r}, 'a').close()\n\n\ndef call(**kwargs):\n    return 3\n"
    (tmp_path / "writes_on_import.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield written
    sys.modules.pop("writes_on_import", None)


def locate(path: Any) -> dict[str, Any]:
    return {"_target_": "pydoc.locate", "path": path}


def partial_of(function: Any, **kwargs: Any) -> dict[str, Any]:
    cls = locate("functools.partial")
    return {"_target_": "copyreg.__newobj_ex__", "cls": cls, "args": [function], "kwargs": kwargs}


FORMS = {
    "called": lambda path: {"_target_": path, "command": "true"},
    "handed on": locate,
    "in a partial": lambda path: partial_of(locate(path)),
    "in a partial of something else": lambda path: partial_of(
        locate("torch.nn.modules.linear.Linear"), bias=locate(path)
    ),
    "called by another call": lambda path: {"_target_": locate(path), "command": "true"},
    "nested": lambda path: {
        "_target_": "torch.nn.modules.container.Sequential",
        "args": [{"x": {"_target_": path}}],
    },
}


def save(folder: Path, section: str, node: Any) -> Path:
    """A config with ``node`` in one section."""
    tree: Any = node
    for name in reversed(section.split(".")):
        tree = [tree] if name.isdigit() else {name: tree}
    path = folder / "config.yaml"
    others: dict[str, Any] = {name.partition(".")[0]: {} for name in SECTIONS}
    path.write_text(yaml.safe_dump(others | tree))
    return path


@pytest.mark.parametrize("path", [*RUNNING, *ODD], ids=repr)
def test_what_runs_code_is_refused(path: Any, tmp_path: Path) -> None:
    for form in FORMS.values():
        with pytest.raises(ConfigError) as caught:
            load_config(save(tmp_path, "model", form(path)))
        text = str(caught.value)
        assert "model" in text and str(path).strip() in text and "\n" not in text


@pytest.mark.parametrize("section", SECTIONS)
def test_in_every_section_and_override(section: str, tmp_path: Path, writer: Path) -> None:
    refused = rf"{section}.*names writes_on_import.call.*--trust writes_on_import\."
    for form in FORMS.values():
        node = form("writes_on_import.call")
        with pytest.raises(ConfigError, match=refused):
            load_config(save(tmp_path, section, node))
        path = save(tmp_path, section, {"_target_": "torch.nn.modules.activation.ReLU"})
        with pytest.raises(ConfigError, match=refused):
            load_config(path, [f"++{section}.inplace={flow(node)}", f"{section}.no_such_key=1"])
    with pytest.raises(ConfigError, match=refused):  # also where the advice would look it up
        load_config(path, [f"{section}._target_=writes_on_import.call", f"{section}.nothing=1"])
    assert not writer.exists() and "writes_on_import" not in sys.modules


def flow(node: Any) -> str:
    """A tree as an override writes it."""
    if isinstance(node, dict):
        return "{" + ", ".join(f"{name}: {flow(child)}" for name, child in node.items()) + "}"
    return f"[{', '.join(map(flow, node))}]" if isinstance(node, list) else str(node)


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:TARGET}",
        "${oc.decode:'{_target_: writes_on_import.call}'}",
        "${oc.decode:${oc.env:NODE}}",
        "${oc.create:{_target_:writes_on_import.call}}",
        r"\${oc.decode:'{_target_: writes_on_import.call}'}",  # for whoever resolves once more
        "${other}",
    ],
)
def test_interpolations_cannot_hide_a_name(
    text: str, tmp_path: Path, writer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET", "writes_on_import.call")
    monkeypatch.setenv("NODE", "{_target_: writes_on_import.call}")
    path = tmp_path / "config.yaml"
    for node in (text, {"_target_": text}, locate(text), {"_target_": "${name}"}):
        content = {
            "model": node,
            "name": "${oc.env:TARGET}",
            "other": "${oc.decode:${oc.env:NODE}}",
        }
        path.write_text(yaml.safe_dump(content))
        with pytest.raises(ConfigError):
            load_config(path)
    assert not writer.exists()


@pytest.mark.parametrize("tag", ["object/apply:os.system", "name:os.system", "module:os", "tuple"])
@pytest.mark.parametrize("section", SECTIONS)
def test_yaml_builds_no_objects(tag: str, section: str, tmp_path: Path) -> None:
    path = save(tmp_path, section, {"x": "HERE"})
    path.write_text(path.read_text().replace("HERE", f"!!python/{tag} [touch, {tmp_path}/here]"))
    with pytest.raises(ConfigError, match="not plain YAML"):
        load_config(path)
    assert not (tmp_path / "here").exists()


def test_trust_lets_a_module_in_and_no_other(tmp_path: Path, writer: Path) -> None:
    node = {"_target_": "writes_on_import.call", "x": locate("writes_on_import.call")}
    path = save(tmp_path, "model", node)
    trust.trust("writes")  # no prefix of letters, but a module
    with pytest.raises(ConfigError):
        load_config(path)
    trust.trust("writes_on_import")
    assert instantiate(to_plain(load_config(path))["model"]) == 3
    assert writer.exists()
    with pytest.raises(ConfigError, match=r"--trust os\."):
        load_config(path, ["model._target_=os.system"])


def test_files_are_not_unpickled_by_name(tmp_path: Path) -> None:
    target = "detectron2.data.get_detection_dataset_dicts"
    path = save(tmp_path, "dataloader.dataset", {"_target_": target, "names": "a"})
    load_config(path)
    load_config(path, ["+dataloader.dataset.proposal_files=null"])
    with pytest.raises(ConfigError, match=r"dataloader.dataset.proposal_files .*unpickled"):
        load_config(path, ["+dataloader.dataset.proposal_files=[a.pkl]"])


GOOD = [
    "torch.nn.ReLU", "torch.nn.modules.activation.ReLU", "torch.optim.AdamW",
    "torch.optim.lr_scheduler.StepLR", "torch.utils.data.ConcatDataset", "torchvision.ops.MLP",
    "torchvision.transforms.v2.RandomCrop", "torchvision.transforms.v2._geometry.RandomCrop",
    "torchvision.transforms.Compose", "torchvision.datasets.CocoDetection", "timm.layers.DropPath",
    "timm.scheduler.CosineLRScheduler", "fvcore.transforms.HFlipTransform",
    "detectron2.data.transforms.RandomFlip", "detectron2.modeling.GeneralizedRCNN",
    "detectron2.layers.ShapeSpec", "detectron2.data.build_detection_train_loader",
    "detectron2.evaluation.COCOEvaluator", "detectron2.modeling.backbone.ResNet.make_stage",
    "torch.nn.functional.gelu", "smalldet.heads.yolox.YOLOXHead", "toydata.heads.GeneratedHeads",
]  # fmt: skip


@pytest.mark.parametrize("path", GOOD)
def test_what_models_and_data_are_made_of_is_allowed(path: str) -> None:
    for node in ({"_target_": path}, locate(path), partial_of(locate(path), x=1)):
        trust.check_targets({"model": node})


ZOO = Path(detectron2.model_zoo.__file__).parent / "configs"
CONFIGS = sorted(path for path in ZOO.glob("*/*.py") if path.parent.name != "common")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_detectron2s_own_configs_are_allowed_once_saved(path: Path) -> None:
    saved = without_live(written(read_config(path)))
    if path.stem.startswith("mmdet"):
        trust.trust("detectron2.modeling.mmdet_wrapper")  # it looks up what its arguments name
    trust.check_targets(saved)


def test_a_program_may_name_what_it_likes_and_compare_itself(tmp_path: Path, writer: Path) -> None:
    program = tmp_path / "own.py"
    program.write_text("model = dict(_target_='writes_on_import.call')\n")
    cfg = load_config(program, ["+model.x=1"])
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    assert config_changes(cfg, tmp_path) == {}
    with pytest.raises(ConfigError, match="--trust writes_on_import"):
        read_config(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="--trust os"):
        load_config(program, ["+model.x={_target_: os.system}"], checks_overrides=True)
    load_config(program, ["+model.x=2"], checks_overrides=True)


def test_nothing_ran(tmp_path: Path) -> None:
    """The tests above would have run this."""
    call = {"_target_": "os.system", "command": f"touch {tmp_path / 'here'}"}
    trust.trust("os")
    assert instantiate(to_plain(load_config(save(tmp_path, "model", call)))["model"]) == 0
    assert (tmp_path / "here").exists()
    assert isinstance(instantiate({"_target_": "torch.nn.ReLU"}), torch.nn.ReLU)
