"""From a program to a file: PyTorch's exporter, then ONNX, ``.pt2`` or safetensors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from smalldet.export.program import Plan, traceable

LARGEST = 64  # times the multiple that sides must be of, to which a graph of any size is tried


def exported(plan: Plan) -> tuple[Plan, ExportedProgram]:
    """The graph of a plan; of one size where no other can be had, which the plan then says.

    Raises:
        ValueError: PyTorch cannot follow the model.
    """
    twin = traceable(plan.program)
    given = (twin.blank(plan.size), *plan.state.values())
    with _quiet():
        if not plan.fixed:
            sides = {2: _side(plan, "rows"), 3: _side(plan, "columns")}
            try:
                shapes = {"images": sides}
                return plan, torch.export.export(twin, given, dynamic_shapes=shapes, strict=False)
            except Exception as error:  # its errors have no common class
                plan = replace(plan, fixed=f"PyTorch cannot follow it for others ({_why(error)}).")
        try:
            return plan, torch.export.export(twin, given, strict=False)
        except Exception as error:
            raise ValueError(
                f"{type(plan.program.backbone).__name__} cannot be exported, because PyTorch's "
                f"exporter cannot follow it ({_why(error)}). Its weights can: --format weights."
            ) from error


def _side(plan: Plan, name: str) -> Dim:
    multiple = plan.program.multiple
    side = Dim(name, min=1, max=LARGEST)
    return side if multiple == 1 else multiple * side  # type: ignore[return-value]


def write_onnx(plan: Plan, graph: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    """Write an ONNX file, weights included, with ``metadata``.

    Raises:
        ValueError: an operation has no ONNX form, or the packages are not installed.
    """
    try:
        import onnxscript  # noqa: F401  (PyTorch's exporter needs it)
    except ImportError as error:
        raise ValueError(
            "onnxscript is not installed, which writes .onnx files: pip install onnx onnxscript "
            "onnxruntime."
        ) from error
    names = list(plan.state)
    try:
        with _quiet():
            program = torch.onnx.export(
                graph,
                dynamo=True,
                input_names=["images", *names],
                output_names=[*plan.program.output_names(), *(f"next_{name}" for name in names)],
                verbose=False,
            )
        assert program is not None
        program.model.metadata_props.update(metadata)
        program.save(str(path), external_data=False)
    except Exception as error:
        raise ValueError(
            f"{type(plan.program.backbone).__name__} cannot be written as ONNX ({_why(error)}). "
            "Try --format pt2, or export its weights: --format weights."
        ) from error


def write_pt2(graph: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a program of ``torch.export``, weights included, with ``metadata``."""
    with _quiet():
        torch.export.save(graph, str(path), extra_files=dict(metadata))


def write_weights(model: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    """Write every tensor of ``model.state_dict()`` as safetensors."""
    # Tensors that share memory are refused, so each becomes a copy.
    tensors: dict[str, Tensor] = {
        name: x.detach().cpu().clone().contiguous() for name, x in model.state_dict().items()
    }
    save_file(tensors, path, dict(metadata))


def _why(error: Exception) -> str:
    """The first line of a message, cut."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or ['no reason given'])[0][:160]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings, which are for its developers."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
