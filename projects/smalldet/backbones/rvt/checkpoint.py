"""Published RVT checkpoints: opening them, mapping their names to ours, loading a model or a part.

Gehrig and Scaramuzza, Recurrent Vision Transformers, 2023, arXiv 2212.05598. The files are
PyTorch-Lightning checkpoints: weights under ``state_dict``, each name behind the prefix ``mdl.``
and one of ``backbone.``, ``fpn.``, ``yolox_head.``; beside them the states of optimizer, schedule
and callbacks, which are of no use here and may hold foreign objects.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smalldet.backbones.weight_files import (
    CheckpointError,
    LoadReport,
    listed,
    load_matched,
    read_checkpoint,
)

logger = logging.getLogger(__name__)

LIGHTNING_PREFIX = "mdl."
DOWNLOAD = (
    "save the .ckpt file that the authors publish there, or run with random weights by "
    'init_checkpoint="".'
)
FIRST_TENSOR = "backbone.stages.0.downsample_cf2cl.conv.weight"  # every RVT has it

# Prefix of our names -> prefix of the published ones; the longest that fits counts.
BACKBONE_NAMES = {"": "backbone."}
DETECTOR_NAMES = {
    "backbone.bottom_up.": "backbone.",
    "backbone.": "fpn.",
    "head.": "yolox_head.",
}
# Their shape follows from the classes alone; those of another set of classes are not loaded.
CLASS_LAYERS = ("yolox_head.cls_preds.",)


def load_rvt_checkpoint(
    model: nn.Module,
    path: str | Path,
    names: Mapping[str, str] = DETECTOR_NAMES,
    new: Sequence[str] = (),
) -> LoadReport | None:
    """Load a published checkpoint into a detector, or into a part of one, and log one line.

    Args:
        model: a whole detector with the default ``names``, a backbone with ``BACKBONE_NAMES``.
        path: the file; "" leaves the random weights and returns None.
        names: prefix of our names -> prefix of the published names. More prefixes serve a model
            whose levels are counted otherwise, such as ``{"head.stems.1.": "yolox_head.stems.0."}``
            for a head with one finer level.
        new: prefixes of our names that no published model has, such as a fourth scale; they keep
            their weights and are not counted as missing.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, is of no RVT, is of an RVT of another size or patch size,
            or covers less than 95 % of the model's tensors.
    """
    if not str(path):
        logger.info("RVT: no init_checkpoint, %s keeps its random weights.", type(model).__name__)
        return None
    state, wanted = read_rvt_checkpoint(path), model.state_dict()
    added = {name for name in wanted if name.startswith(tuple(new))}
    sources = {name: _published_name(name, names) for name in wanted if name not in added}
    found = {name: state[source] for name, source in sources.items() if source in state}
    misshapen = [name for name, x in found.items() if x.shape != wanted[name].shape]
    other_classes = {name for name in misshapen if sources[name].startswith(CLASS_LAYERS)}
    _check_shapes(sorted(set(misshapen) - other_classes), found, wanted, path)
    matched = {name: x for name, x in found.items() if name not in other_classes}
    report = LoadReport(
        path=str(path),
        what="RVT checkpoint",
        loaded=tuple(sorted(matched)),
        missing=tuple(sorted(set(sources) - set(found))),
        dropped=tuple(sorted(set(state) - {sources[name] for name in found})),
        unfit=tuple(sorted(other_classes)),
        new=tuple(sorted(added)),
    )
    advice = "Do num_blocks, the depth of the neck and the LSTM's options fit the file?"
    load_matched(model, matched, report, advice)
    return report


def read_rvt_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a published file by name, without the prefix ``mdl.``.

    Only tensors and plain values are unpickled. Other objects, which Lightning keeps beside the
    weights (a scheduler holds a method of itself, say), become empty stand-ins, and their code is
    never imported.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it cannot be read, or holds no RVT backbone.
    """
    path = Path(path).expanduser()
    with torch.serialization.safe_globals(_stand_ins(path)):
        state = read_checkpoint(path, "RVT weights", DOWNLOAD)
    state = {name.removeprefix(LIGHTNING_PREFIX): x for name, x in state.items()}
    if FIRST_TENSOR not in state:
        raise CheckpointError(
            f"{path} is no published RVT checkpoint: it lacks {LIGHTNING_PREFIX}{FIRST_TENSOR}. It "
            f"holds {listed(sorted(state))}. A checkpoint of a run of this project is not loaded "
            "here; name it by train.init_checkpoint, or evaluate it from its run folder."
        )
    return state


class _StandIn:
    """Takes the place of an object that is not wanted: accepts whatever it is told, keeps none."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def _stand_ins(path: Path) -> list[Any]:
    """Pairs (what to take instead, full name) of all objects that PyTorch would refuse."""
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # damaged, or of an old format: reading it tells what is wrong
        return []
    # An optimizer's state is filled in item by item, which the unpickler allows for dicts only.
    known = {"collections.defaultdict": _plain_dict}
    return [(known.get(name, _StandIn), name) for name in foreign]


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _published_name(name: str, names: Mapping[str, str]) -> str:
    fitting = [prefix for prefix in names if name.startswith(prefix)]
    if not fitting:
        return name
    longest = max(fitting, key=len)
    return names[longest] + name.removeprefix(longest)


def _check_shapes(
    names: list[str], found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path
) -> None:
    """Raise if tensors have other shapes, and name the option that is behind it."""
    if not names:
        return
    shapes = [f"{n} {tuple(found[n].shape)}, here {tuple(wanted[n].shape)}" for n in names]
    raise CheckpointError(
        f"{path} is of an RVT of another form than this one: {len(names)} tensors differ in shape "
        f"({listed(shapes)}). {_advice(names, found, wanted)}"
    )


def _advice(names: list[str], found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What to do about tensors of other shapes."""
    suffix = FIRST_TENSOR.removeprefix("backbone.")
    stem = next((name for name in names if name.endswith(suffix)), None)
    if stem is None:
        return "Choose the matching file, or the configuration that belongs to it."
    theirs, ours = found[stem].shape, wanted[stem].shape
    if len(theirs) == 4 and theirs[:2] == ours[:2]:
        return (
            f"Its first convolution has a kernel of {theirs[-1]}, as with patch_size="
            f"{(theirs[-1] + 1) // 2}: set patch_size to it, or choose the matching file."
        )
    return (
        f"It has embed_dim={theirs[0]} and in_channels={theirs[1]}, and this model "
        f"{ours[0]} and {ours[1]}: set them to the file's, or choose the matching file."
    )
