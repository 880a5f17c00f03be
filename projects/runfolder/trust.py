"""Which classes and functions a ``.yaml`` config may name; all others are refused by name.

Such a config is data that people copy, yet each ``_target_`` in it is imported and called. So it
may name public classes of :data:`KINDS` that :data:`PACKAGES` define, and :data:`OBJECTS`; others
only of modules that the user trusts (``--trust NAME``). The text is looked at first: what cannot be
one of these is not even imported. A ``.py`` config is a program, and is not looked at.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

PACKAGES = ("smalldet", "eventcam", "detectron2", "fvcore", "torch", "torchvision", "timm")
KINDS = {
    "torch.nn.modules.module.Module",
    "torch.optim.optimizer.Optimizer",
    "torch.optim.lr_scheduler.LRScheduler",
    "torch.utils.data.dataset.Dataset",
    "torch.utils.data.sampler.Sampler",
    "torch.utils.data.dataloader.DataLoader",
    "fvcore.common.param_scheduler.ParamScheduler",
    "fvcore.transforms.transform.Transform",
    "detectron2.data.dataset_mapper.DatasetMapper",
    "detectron2.data.transforms.augmentation.Augmentation",
    "detectron2.evaluation.evaluator.DatasetEvaluator",
    "timm.scheduler.scheduler.Scheduler",
}
"""Base classes by where they are defined; what inherits from one is of its kind."""
OBJECTS = {
    "detectron2.data.build.build_detection_test_loader",
    "detectron2.data.build.build_detection_train_loader",
    "detectron2.data.build.get_detection_dataset_dicts",
    "detectron2.data.samplers.distributed_sampler.RepeatFactorTrainingSampler."
    "repeat_factors_from_category_frequency",
    "detectron2.layers.batch_norm.get_norm",
    "detectron2.layers.shape_spec.ShapeSpec",
    "detectron2.modeling.backbone.resnet.ResNet.make_default_stages",
    "detectron2.modeling.backbone.resnet.ResNet.make_stage",
    "detectron2.modeling.backbone.vit.get_vit_lr_decay_rate",
    "detectron2.modeling.box_regression.Box2BoxTransform",
    "detectron2.modeling.box_regression.Box2BoxTransformLinear",
    "detectron2.modeling.box_regression.Box2BoxTransformRotated",
    "detectron2.modeling.matcher.Matcher",
    "detectron2.solver.build.get_default_optimizer_params",
    "eventcam.augment.sequence.AugmentSettings",
    "eventcam.dataset.EventRecordings",
    "eventcam.sampling.eval_loader.build_sequence_eval_loader",
    "eventcam.sampling.schedule.SamplingSettings",
    "eventcam.sampling.train_loader.build_sequence_train_loader",
    "labbook.config.experiment.Experiment",
    "smalldet.data.catalog.records_of",
    "smalldet.data.loader.build_eval_loader",
    "smalldet.data.loader.build_train_loader",
    "smalldet.data.mapper.SeededMapper",
    "smalldet.data.splits.CocoSplits",
    "smalldet.engine.optim.parameter_groups",
    "smalldet.engine.settings.TrainSettings",
    "smalldet.heads.rcnn_boxes.box_loss_weight",
    "smalldet.heads.rcnn_shapes.anchors_per_cell",
    "smalldet.heads.rcnn_shapes.pooler_scales",
    "smalldet.necks.simple_pyramid.pyramid_strides",
    "torch.nn.functional.gelu",
    "torch._C._nn.gelu",  # what the line before is called when it is saved
    "torch.nn.functional.leaky_relu",
    "torch.nn.functional.relu",
    "torch.nn.functional.silu",
    "torchvision.transforms.transforms.Compose",
    "torchvision.transforms.transforms.PILToTensor",
    "torchvision.transforms.transforms.ToTensor",
    "toydata.heads.dataset.GeneratedHeads",
    "toydata.streets.dataset.GeneratedRecordings",
    "toydata.streets.dataset.recordings_like",
}
"""Functions, and classes of no kind, by where they are defined."""
EXECUTING = (
    "detectron2.modeling.mmdet_wrapper.",  # looks up what its arguments name
    "timm.data.dataset.",  # its readers may run code of a data set
    "torch.utils.data.datapipes.",  # unpickle files
    "torchvision.datasets.cifar.",  # unpickle files
    "torchvision.datasets.lsun.",
)
"""Classes of a kind that would run what an argument or a data file says."""
UNPICKLING = {"detectron2.data.build.get_detection_dataset_dicts": "proposal_files"}
"""Objects with the argument that names files to unpickle, which is refused."""

LOCATE, PARTIAL = "pydoc.locate", "copyreg.__newobj_ex__"
"""What the data of a class or function, and those of a partial, are calls of."""
_PARTIAL_CLASS = {"_target_": LOCATE, "path": "functools.partial"}
_PUBLIC = re.compile(r"[a-zA-Z]\w*(\.[a-zA-Z]\w*)+")
_CLASS_NAME = re.compile(r"[A-Z]\w*")
_trusted: set[str] = set()


class TrustError(ValueError):
    """A config names what it may not; the message is a sentence with the key and a way out."""


def trust(module: str) -> str:
    """From now on this process takes any class or function of a module, or below it, from a config.

    Returns:
        The module, so that it can be the ``type`` of :data:`OPTION`.
    """
    _trusted.add(module)
    return module


OPTION: dict[str, Any] = {
    "metavar": "NAME",
    "type": trust,
    "action": "append",
    "default": [],
    "help": "a module that a .yaml config may name classes and functions of, too",
}
"""``--trust`` for an argument parser, which trusts what it reads."""


def check_targets(
    tree: Any, key: str = "", known: Collection[str] = (), resolved: bool = False
) -> None:
    """Refuse a config that names a class or function which it may not name.

    Args:
        tree: the config in plain dicts and lists.
        key: the dotted key of ``tree``, for the sentence.
        known: import paths that it may name besides.
        resolved: whether its interpolations are replaced, so that it must hold none.

    Raises:
        TrustError: with the key, the name, and what allows it.
    """
    if isinstance(tree, Mapping):
        children: Any = dict(tree)
        if "_target_" in tree:
            _check_call(children, key, known)
        for name, child in children.items():
            check_targets(child, f"{key}.{name}" if key else str(name), known, resolved)
    elif isinstance(tree, list | tuple):
        for index, child in enumerate(tree):
            check_targets(child, f"{key}.{index}", known, resolved)
    elif resolved and isinstance(tree, str) and "${" in tree:
        raise TrustError(f"{key} is {tree!r}, which would be resolved twice. Write its value.")


def targets(tree: Any) -> Iterator[str]:
    """The import paths that a config in plain dicts and lists names."""
    if isinstance(tree, Mapping):
        named = tree.get("path") if tree.get("_target_") == LOCATE else tree.get("_target_")
        yield from [named] if isinstance(named, str) else []
    if isinstance(tree, Mapping | list):
        for child in tree.values() if isinstance(tree, Mapping) else tree:
            yield from targets(child)


def _check_call(call: dict[str, Any], key: str, known: Collection[str]) -> None:
    """Check what one call names; of ``call`` the children stay that are to be checked, too."""
    target = call["_target_"]
    if isinstance(target, Mapping):  # a call that gives the function to be called
        return
    if target == LOCATE and call.keys() == {"_target_", "path"}:
        _check_name(call["path"], f"{key}.path", known, is_called=False)
    elif target == PARTIAL and call.get("cls") == _PARTIAL_CLASS:
        del call["cls"]
    else:
        _check_name(target, f"{key}._target_" if key else "_target_", known)
        if call.get(argument := UNPICKLING.get(_defined(target), "")):
            raise TrustError(
                f"{key}.{argument} names files that would be unpickled, which runs what is in "
                "them. Use a .py config for it."
            )


def _check_name(path: Any, key: str, known: Collection[str], is_called: bool = True) -> None:
    if not isinstance(path, str) or not re.fullmatch(r"\w+(\.\w+)*", path):
        raise TrustError(f"{key} is {path!r}; expected the import path of a class or function.")
    if path in known or any(f"{path}.".startswith(f"{name}.") for name in _trusted):
        return
    if not _is_allowed(path) or (not is_called and _defined(path) in UNPICKLING):
        package, _, rest = path.partition(".")
        module = path.rpartition(".")[0] if rest and package in PACKAGES else package
        raise TrustError(
            f"{key} names {path}, which is none of the classes and functions that a .yaml config "
            f"may name. If code of {module} may run as this file says, add --trust {module}."
        )


def _is_allowed(path: str) -> bool:
    if path in OBJECTS:
        return True
    public = path.replace("torchvision.transforms.v2._", "torchvision.transforms.v2.")
    is_candidate = _PUBLIC.fullmatch(public) and path.split(".")[0] in _IMPORTED
    name = path.rpartition(".")[2]
    if not is_candidate or not (_CLASS_NAME.fullmatch(name) or name in _OBJECT_NAMES):
        return False
    return _defined(path) in OBJECTS or _is_of_a_kind(_found(path))


def _is_of_a_kind(found: Any) -> bool:
    if not isinstance(found, type):
        return False
    bases = {f"{base.__module__}.{base.__qualname__}" for base in found.__mro__}
    place = f"{found.__module__}.{found.__qualname__}"
    is_ours = place.split(".")[0] in PACKAGES and not place.startswith(EXECUTING)
    return is_ours and bool(bases & KINDS)


def _defined(path: str) -> str:
    """Where what a path of a package of ours names is defined, as ``module.Class``."""
    if path in OBJECTS:
        return path
    found = _found(path) if path.split(".")[0] in _IMPORTED else None
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"


def _found(path: str) -> Any:
    """What a path names; None if there is nothing."""
    try:
        return pkgutil.resolve_name(path)
    except Exception:  # a module may fail in any way where a library that it needs is missing
        return None


_IMPORTED = {*PACKAGES, *(path.split(".")[0] for path in OBJECTS)}
_OBJECT_NAMES = {path.rpartition(".")[2] for path in OBJECTS}
