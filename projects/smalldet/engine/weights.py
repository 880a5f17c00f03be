"""Reading checkpoints: whole ones of a run, for whatever they are loaded, and start weights."""

from __future__ import annotations

import logging
import pickle
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils.file_io import PathManager
from torch import Tensor, nn

from runfolder.checkpoints import periodic_checkpoints
from runfolder.checksums import has_checksum
from runfolder.names import LAST_CHECKPOINT
from smalldet.backbones.weight_files import (
    SAFETENSORS,
    CheckpointError,
    kind,
    listed,
    odd_entries,
    read_file,
)

LIGHTNING = ".ckpt"  # published detectors of RVT
WEIGHTS = ("model",)
WHOLE = ("model", "trainer", "processes", "data_fingerprint")
"""What a checkpoint needs for a run to go on from it."""
PLAIN = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
}
"""Modules and names that pickled arrays, and dicts of them, are made of."""
SHOWN = 5  # differences named in a message

logger = logging.getLogger(__name__)


def read_checkpoint(path: str | Path, entries: Sequence[str] = WEIGHTS) -> dict[str, Any]:
    """The content of a run's checkpoint, or of its exported weights, on the CPU.

    Args:
        path: the file.
        entries: what it must hold: :data:`WEIGHTS` or :data:`WHOLE`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, no checkpoint of a run, or lacks an entry. Both messages
            offer the newest good checkpoint of its folder.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}. {advice(path, entries)}")
    try:
        content: Any = read_file(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error} {advice(path, entries)}") from error
    if path.suffix == SAFETENSORS:
        content = {"model": content}
    lacking = [key for key in entries if not isinstance(content, Mapping) or key not in content]
    if lacking:
        names = ", ".join(f"'{key}'" for key in lacking)
        what = "checkpoint of a run" if "model" in lacking else "checkpoint to go on from"
        raise CheckpointError(f"{path} is no {what} (it has no {names}). {advice(path, entries)}")
    if odd := odd_entries(content["model"]):
        raise CheckpointError(
            f"{path} is no checkpoint of a run: its 'model' should be dense tensors by name, but "
            f"{listed(odd)}. {advice(path, entries)}"
        )
    return dict(content)


def advice(path: Path, entries: Sequence[str]) -> str:
    """What to do without the checkpoint ``path``: a sentence with the newest good one beside it."""
    good = newest_good(path.parent, entries)
    if tuple(entries) == WHOLE:
        pointer = shlex.quote(str(path.parent / LAST_CHECKPOINT))
        if good:
            return f"Newest good one: echo {good.name} > {pointer} (then resume again)."
        return f"No other in {path.parent} is good: start again in another train.output_dir."
    if good:
        return (
            f"To take the newest good one: train.init_checkpoint={good} (or --weights {good} of "
            "predict and export)."
        )
    return (
        "Train first, or name another with train.init_checkpoint=PATH, or --weights PATH of "
        "predict and export. Weights of a backbone belong into the backbone's own init_checkpoint."
    )


def newest_good(folder: Path, entries: Sequence[str]) -> Path | None:
    """The newest checkpoint of a run folder that can be read and holds ``entries``."""
    periodic = [path for _, path in reversed(periodic_checkpoints(folder))]
    for path in (folder / "model_final.pth", *periodic, folder / "model_best.pth"):
        with suppress(CheckpointError):
            content = read_file(path) if path.is_file() else None
            if isinstance(content, Mapping) and content.keys() >= set(entries):
                return path
    return None


def load_weights(
    model: nn.Module, path: str | Path, entries: Sequence[str] = WEIGHTS
) -> dict[str, Any]:
    """Load the weights of a run's checkpoint into ``model``, every tensor of it.

    Returns:
        What the file holds besides the weights.

    Raises:
        FileNotFoundError, CheckpointError: see :func:`read_checkpoint`.
        ValueError: A tensor is missing, unknown, or of another shape or dtype; the message names
            the first.
    """
    checkpoint, path = read_checkpoint(path, entries), Path(path)
    if problems := mismatches(model.state_dict(), checkpoint["model"]):
        raise ValueError(
            f"{path} does not fit the model of this config in {len(problems)} tensors: "
            f"{'; '.join(problems[:SHOWN])}. Use the config of the run that wrote it "
            f"({path.parent / 'config.yaml'}). If that is this config, the model has changed "
            f"since: tools/lab.py reproduce {path.parent} names the commit that it fits."
        )
    if path.suffix != SAFETENSORS and not has_checksum(path):
        logger.info(
            f"{path} carries no checksum (earlier versions and other programs write none): damage "
            "to its values would go unseen."
        )
    model.load_state_dict(checkpoint.pop("model"))
    return checkpoint


def best_checkpoint(folder: Path) -> Path:
    """``model_best.pth`` of a run folder, or ``model_final.pth`` where no score was defined."""
    best = folder / "model_best.pth"
    return best if best.exists() else folder / "model_final.pth"


def load_scored(model: Any, output_dir: str, init_checkpoint: str) -> str:
    """Load what an evaluation alone scores, every tensor of it.

    That is ``init_checkpoint``, else the best model of the run folder, else, where nothing was
    trained, the published checkpoint that a detector names itself (``model.init_checkpoint``).

    Returns:
        The file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it does not fit the model, or lacks a part of it.
    """
    best, named = best_checkpoint(Path(output_dir)), getattr(model, "init_checkpoint", "")
    if init_checkpoint or best.exists() or not named:
        path = init_checkpoint or str(best)
        report = load_start_weights(model, path)
    else:
        path, report = named, model.load_pretrained()
    if report is not None and not report.is_complete:
        raise ValueError(
            f"What this model would find is not what {path} has learned ({report}). Evaluate it "
            "with the config that belongs to it, or train first."
        )
    return path


def load_start_weights(model: nn.Module, path: str) -> Any:
    """Load a run's checkpoint, every tensor of it; one of another program as far as it fits.

    Others are ``.ckpt`` files, which the detector itself reads, and ``.pkl`` files and addresses as
    ``detectron2://...``, which Detectron2 reads; both log what does not fit.

    Returns:
        Of a ``.ckpt`` file the detector's report, else None.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: see :func:`load_weights`; or it is a ``.ckpt`` file, and the detector has no
            ``load_pretrained``; or Detectron2 cannot read it.
    """
    if Path(path).suffix == LIGHTNING:
        return _load_published(model, path)
    if "://" in path or Path(path).suffix not in (".pth", SAFETENSORS):
        _load_foreign(model, path)
    else:
        load_weights(model, path)


def _load_foreign(model: nn.Module, path: str) -> None:
    """As Detectron2 does; an address is fetched."""
    if "://" not in path and not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}. {advice(Path(path), WEIGHTS)}")
    try:
        _PlainCheckpointer(model).load(path)
    except Exception as error:  # on arbitrary bytes it may fail in any way
        raise CheckpointError(
            f"Detectron2 cannot load {path} ({type(error).__name__}: {error}). Expected tensors or "
            "arrays by name under 'model', as in the files of its model zoo."
        ) from error


class _PlainCheckpointer(DetectionCheckpointer):
    """Detectron2's, which takes arrays only from a ``.pkl`` file: a pickle may run code."""

    def _load_file(self, filename: str) -> Any:
        if filename.endswith(".pkl"):
            with PathManager.open(filename, "rb") as file:
                _ArraysOnly(cast(BinaryIO, file), encoding="latin1").load()
        return super()._load_file(filename)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("._core.", ".core."), name) not in PLAIN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which would run")
        return super().find_class(module, name)


def _load_published(model: Any, path: str) -> Any:
    """As if the config had named the file as ``model.init_checkpoint``."""
    if not hasattr(model, "load_pretrained"):
        raise ValueError(
            f"{path} is a published checkpoint of a recurrent detector, and the model a "
            f"{type(model).__name__}, which cannot start from it. Give it to the backbone that it "
            "fits: train.init_checkpoint='' model.backbone.bottom_up.init_checkpoint=PATH."
        )
    model.init_checkpoint = path
    return model.load_pretrained()


def mismatches(expected: Any, found: Any, name: str = "") -> list[str]:
    """Sentences about the names, types, shapes and dtypes in which two state dicts differ.

    Args:
        expected: tensors, numbers and other values, in dicts and lists of any depth.
        found: what should be like it.
        name: of both, before the names in them.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        inside = f"{name}." if name else ""
        rows = [f"{inside}{key} is missing" for key in expected.keys() - found.keys()]
        rows += [f"{inside}{key} is unknown" for key in found.keys() - expected.keys()]
        common = expected.keys() & found.keys()
        pairs = [mismatches(expected[key], found[key], f"{inside}{key}") for key in common]
        return sorted(chain(rows, *pairs))
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        if len(expected) != len(found):
            return [f"{name} has {len(found)} entries instead of {len(expected)}"]
        pairs = enumerate(zip(expected, found, strict=True))
        return list(chain(*(mismatches(a, b, f"{name}.{n}") for n, (a, b) in pairs)))
    if isinstance(expected, Tensor) and isinstance(found, Tensor) and expected.shape != found.shape:
        return [f"{name} is {tuple(found.shape)} instead of {tuple(expected.shape)}"]
    if _kind(expected) == _kind(found):
        return []
    return [f"{name} is {_kind(found)} instead of {_kind(expected)}"]


def _kind(value: Any) -> str:
    """Numbers are of one kind, whole or not."""
    return "a number" if type(value) in (int, float) else kind(value)
