"""Reading weight files safely, of runs or published by others, and loading what fits of them."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor

from runfolder.checksums import verify_checksum

logger = logging.getLogger(__name__)

SAFETENSORS = ".safetensors"
CONTAINER_KEYS = ("model", "model_ema", "state_dict")
LEAST_MATCHED = 0.95  # of a model's tensors must be in a file that is loaded into it
MOST_NAMES = 6  # names listed in a message before "and N more"


class CheckpointError(ValueError):
    """A weight file that cannot be used as it is configured; the message says what to do."""


def read_file(path: Path) -> object:
    """What a weight file holds, on the CPU; every reader of weights comes through here.

    A checksum in it is verified before anything else. Only tensors, plain values and
    ``argparse.Namespace`` (which published files hold) are unpickled, so a hostile file cannot run
    code.

    Args:
        path: of ``torch.save``, or ``.safetensors``.

    Raises:
        CheckpointError: it is damaged, or holds something else.
    """
    try:
        verify_checksum(path)
        if path.suffix == SAFETENSORS:
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on arbitrary bytes the unpickler may fail in any way
        reason = str(error).strip().split("\n")[0][:200]
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch weight file ({type(error).__name__}: {reason}). "
            "It may be damaged or incomplete, or hold Python objects other than tensors, which "
            "are refused because they could run foreign code."
        ) from error


def odd_entries(state: object) -> list[str]:
    """Sentences on what makes ``state`` anything but dense tensors by name; [] if it is that."""
    if not isinstance(state, Mapping):
        return [f"it is {type(state).__name__}"]
    names = [f"{name!r} is no name" for name in state if not isinstance(name, str)]
    return names + [f"{name} is {kind(x)}" for name, x in state.items() if not _is_dense(x)]


def kind(value: object) -> str:
    """What sort of value it is, in a word for a message."""
    if not isinstance(value, Tensor):
        return {dict: "a dict", list: "a list", type(None): "None"}.get(
            type(value), type(value).__name__
        )
    if value.is_meta:
        return "a tensor without values (meta)"
    if not _is_dense(value):
        return f"a tensor that is not dense ({value.dtype}, {value.layout})"
    return str(value.dtype).removeprefix("torch.")


def _is_dense(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not (value.is_meta or value.is_quantized or value.is_nested)
    )


def read_checkpoint(
    path: str | Path, what: str, remedy: str, containers: Iterable[str] = CONTAINER_KEYS
) -> dict[str, Tensor]:
    """The tensors of a weight file by name, out of its container and without "module." prefix.

    Args:
        path: see :func:`read_file`.
        what: it should be, as "ViM weights", for the message.
        remedy: what to do if it is not there, for the same.
        containers: keys under which tensors are looked for, in this order.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, or holds no tensors by name.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There are no {what} at {path}: {remedy}")
    return _named_tensors(read_file(path), path, tuple(containers))


class Loadable(Protocol):
    """What takes tensors by name, as every ``nn.Module`` does."""

    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool) -> Any: ...


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors of a file and of a model; ``str()`` gives one line.

    Attributes:
        path: the file.
        what: it holds, as "RVT checkpoint".
        loaded: names of the model that got a tensor of the file.
        missing: those that the file lacks.
        dropped: names of the file that the model has no use for.
        unfit: those of the model whose tensors have another shape in the file, and are not loaded.
        new: those of the model that no such file holds.
    """

    path: str
    what: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    dropped: tuple[str, ...]
    unfit: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether all tensors of the model are from the file."""
        return not (self.missing or self.unfit or self.new)

    @property
    def wanted(self) -> int:
        """Number of tensors that the file should hold for the model."""
        return len(self.loaded) + len(self.missing) + len(self.unfit)

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.what}; loaded {len(self.loaded)} of {self.wanted} tensors; "
            f"missing {listed(self.missing)}; of another shape {listed(self.unfit)}; "
            f"new in this model {listed(self.new)}; dropped {listed(self.dropped)}"
        )


def load_matched(
    model: Loadable, tensors: Mapping[str, Tensor], report: LoadReport, advice: str
) -> None:
    """Load ``tensors`` into ``model``, and log ``report``: as a warning if anything is missing.

    Args:
        model: which keeps its weights where there is no tensor.
        tensors: by the names of the model, in its shapes.
        report: on them.
        advice: what to look at if too few match, for the message.

    Raises:
        CheckpointError: less than 95 % of the model's tensors are loaded, or some are not finite.
    """
    floating = {name for name, x in model.state_dict().items() if x.is_floating_point()}
    bad = sorted(
        name
        for name, x in tensors.items()
        if not x.isfinite().all() or (name in floating and not x.is_floating_point())
    )
    if bad:
        raise CheckpointError(
            f"{report.path} has values in {listed(bad)} that are not finite floating-point "
            "numbers; the file is damaged or comes from a run that diverged. Use another one."
        )
    if not report.loaded or len(report.loaded) < LEAST_MATCHED * report.wanted:
        raise CheckpointError(
            f"{report.path} covers only {len(report.loaded)} of the model's {report.wanted} "
            f"tensors (missing {listed(report.missing)}; of another shape {listed(report.unfit)}); "
            f"at least {LEAST_MATCHED:.0%} must match. {advice}"
        )
    model.load_state_dict(tensors, strict=False)
    incomplete = report.missing or report.unfit
    logger.log(logging.WARNING if incomplete else logging.INFO, "%s", report)


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    shown = ", ".join(names[:MOST_NAMES]) or "nothing"
    return shown + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _named_tensors(content: object, path: Path, containers: tuple[str, ...]) -> dict[str, Tensor]:
    """Look into the known containers in order, then at the file's own top level."""
    top = content if isinstance(content, Mapping) else {}
    places = [*(top[key] for key in containers if key in top), top]
    state = next((place for place in places if _holds_tensors(place)), None)
    if state is None:
        raise CheckpointError(
            f"{path} holds {type(content).__name__} with keys {listed(map(str, top))}, but "
            f"expected were tensors by name, bare or under {', '.join(containers)}."
        )
    if odd := odd_entries(state):
        raise CheckpointError(f"{path} has entries that are no tensors: {listed(odd)}.")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _holds_tensors(place: object) -> bool:
    return isinstance(place, Mapping) and any(isinstance(v, Tensor) for v in place.values())
