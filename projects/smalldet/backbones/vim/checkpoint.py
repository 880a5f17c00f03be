"""Loading published ViM weights into a detection backbone.

A configuration that contradicts how the weights were trained is an error, because it would load
without complaint (see ``vim_weight_files``).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from smalldet.backbones.vim.weight_files import (
    CONFIG_PREFIX,
    DOWNLOAD,
    VimFamily,
    grid_side,
    recognise_family,
)
from smalldet.backbones.weight_files import (
    LEAST_MATCHED,
    CheckpointError,
    listed,
    read_checkpoint,
)

logger = logging.getLogger(__name__)

STRIDE_8_SIDE = 27  # (224 - 16) // 8 + 1: patch rows of a 224-pixel image at stride 8


class VimBackbone(Protocol):
    """What loading asks of a Vision Mamba: the options that its weights must agree with."""

    class_token: str
    divide_directions: bool
    pretrain_grid: int
    grid: tuple[int, int]
    layers: Any

    @property
    def rope(self) -> bool: ...
    @property
    def class_slot(self) -> int | None: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool) -> Any: ...


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors of a file and of the backbone; ``str()`` gives one line."""

    path: str
    family: VimFamily
    loaded: tuple[str, ...]
    resized: str
    dropped: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def is_partial(self) -> bool:
        """Whether weights are missing, or blocks of the file were left out."""
        return bool(self.missing) or any(name.startswith("layers.") for name in self.dropped)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing)
        return (
            f"{self.path}: ViM family {self.family.name}, directions "
            f"{'averaged' if self.family.divide_directions else 'summed'}; "
            f"loaded {len(self.loaded)} of {total} tensors; resized {self.resized or 'nothing'}; "
            f"dropped {listed(self.dropped)}; missing {listed(self.missing)}"
        )


def load_vim_checkpoint(model: VimBackbone, path: str | Path) -> LoadReport | None:
    """Load a published weight file into ``model`` and log one line about it.

    The patch part of the position embedding is resized once (bicubic) to the model's grid; the
    class slot is taken from where its family has it. Head and rope tables are dropped: the first
    is not part of a backbone, the second follow from the grid.

    Args:
        model: the backbone; its options must agree with the family in the file.
        path: the file; "" leaves the random weights and returns None.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if the file is damaged, is no ViM file, contradicts the configuration,
            has other shapes, or covers less than 95 % of the backbone's tensors.
    """
    if not str(path):
        logger.info("ViM: no init_checkpoint, the backbone keeps its random weights.")
        return None
    state = read_checkpoint(path, "ViM weights", DOWNLOAD)
    family = recognise_family(state, path)
    side = grid_side(state["pos_embed"], family, path)
    _check_configuration(model, family, side, path)
    if side == STRIDE_8_SIDE and not family.rope:
        logger.warning("%s has 27x27 positions, as fine-tuned at stride 8; used at 16 here.", path)
    wanted = model.state_dict()
    candidates = state | {"pos_embed": _convert_positions(state["pos_embed"], family, model)}
    matched = {name: tensor for name, tensor in candidates.items() if name in wanted}
    _check_tensors(matched, wanted, path)
    report = LoadReport(
        path=str(path),
        family=family,
        loaded=tuple(sorted(matched)),
        resized="" if model.grid == (side, side) else _resizing(side, model.grid),
        dropped=tuple(sorted(set(state) - set(wanted))),
        missing=tuple(sorted(set(wanted) - set(matched))),
    )
    _check_coverage(report)
    _check_blocks(report, len(model.layers))
    model.load_state_dict(matched, strict=False)
    logger.log(logging.WARNING if report.is_partial else logging.INFO, "%s", report)
    return report


def _check_configuration(
    model: VimBackbone, family: VimFamily, side: int, path: str | Path
) -> None:
    """Raise if an option of the model contradicts how the weights were trained."""
    needed: dict[str, object] = {}
    if model.class_token not in (family.class_token, "none"):
        needed["class_token"] = family.class_token
    if model.rope != family.rope:
        needed["rope"] = family.rope
    if model.divide_directions != family.divide_directions:
        needed["divide_directions"] = family.divide_directions
    if family.rope and model.pretrain_grid != side:
        needed["pretrain_grid"] = side
    if needed:
        settings = " ".join(f"{CONFIG_PREFIX}.{k}={str(v).lower()}" for k, v in needed.items())
        raise CheckpointError(
            f"{path} is of ViM family {family.name}, which the configuration contradicts; "
            f"set {settings}"
        )


def _convert_positions(positions: Tensor, family: VimFamily, model: VimBackbone) -> Tensor:
    """Position embedding of the file -> (1, L, E) of the model."""
    patches = positions.shape[1] - (family.class_token != "none")
    slot = {"middle": patches // 2, "first": 0, "none": None}[family.class_token]
    if slot is None:
        return resize_positions(positions, model.grid)
    grid = torch.cat([positions[:, :slot], positions[:, slot + 1 :]], dim=1)
    grid = resize_positions(grid, model.grid)
    if model.class_slot is None:
        return grid
    own = positions[:, slot : slot + 1].to(grid.dtype)
    return torch.cat([grid[:, : model.class_slot], own, grid[:, model.class_slot :]], dim=1)


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Bicubic resize of ``positions`` (1, side * side, E) to (1, h * w, E), row-major."""
    side = math.isqrt(positions.shape[1])
    if (side, side) == grid:
        return positions
    image = positions.float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    image = F.interpolate(image, size=grid, mode="bicubic", align_corners=False)
    return image.flatten(2).transpose(1, 2)


def _check_tensors(
    matched: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path
) -> None:
    for name, tensor in matched.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path} has {name} of shape {tuple(tensor.shape)}, but this backbone needs "
                f"{tuple(wanted[name].shape)}: it is a ViM of another size. Choose the matching "
                f"file, or set {CONFIG_PREFIX}.embed_dim and its neighbours to the file's."
            )
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{path} has values in {name} that are not finite floating-point numbers; the "
                "file is damaged or comes from a run that diverged."
            )


def _check_coverage(report: LoadReport) -> None:
    total = len(report.loaded) + len(report.missing)
    if len(report.loaded) < LEAST_MATCHED * total:
        raise CheckpointError(
            f"{report.path} covers only {len(report.loaded)} of the backbone's {total} tensors "
            f"(missing {listed(report.missing)}); at least {LEAST_MATCHED:.0%} must match. Does "
            f"{CONFIG_PREFIX}.depth fit the file?"
        )


def _check_blocks(report: LoadReport, depth: int) -> None:
    """Raise if blocks that are loaded have more tensors in the file, such as a layer scale."""
    blocks = tuple(f"layers.{i}." for i in range(depth))
    extra = [name for name in report.dropped if name.startswith(blocks)]
    if extra:
        raise CheckpointError(
            f"{report.path} has {listed(extra)}, which this backbone's blocks do not have: it is "
            "a variant of ViM whose features would come out wrong here."
        )


def _resizing(side: int, grid: tuple[int, int]) -> str:
    return f"pos_embed {side}x{side} -> {grid[0]}x{grid[1]}"
