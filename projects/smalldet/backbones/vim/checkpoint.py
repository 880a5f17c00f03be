"""Loading published ViM weights into a detection backbone.

Three families of weights have been published for the same architecture (Zhu et al., Vision Mamba,
2024, arXiv 2401.09417). They differ in ways that change every feature but no shape, so a wrong
guess loads without complaint and ruins the model. Families are therefore recognised by their
keys, and a configuration that contradicts how the weights were trained is an error.
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

from smalldet.backbones.weight_files import (
    CheckpointError,
    Loadable,
    LoadReport,
    listed,
    load_matched,
    read_checkpoint,
)

logger = logging.getLogger(__name__)

CONFIG_PREFIX = "model.backbone.bottom_up"
DOWNLOAD = (
    "download vim_t_midclstok_76p1acc.pth from the model hustvl/Vim-tiny-midclstok on Hugging Face "
    f'and save it there, or run with random weights by {CONFIG_PREFIX}.init_checkpoint="".'
)
STRIDE_8_SIDE = 27  # (224 - 16) // 8 + 1: patch rows of a 224-pixel image at stride 8


@dataclass(frozen=True)
class VimFamily:
    """How one family of published weights was trained.

    Attributes:
        name: what it is called here.
        class_token: where the class token stood in pretraining: "middle", "first" or "none".
        rope: whether each block turned its tokens.
        divide_directions: whether the two scan directions were averaged (else summed).
    """

    name: str
    class_token: str
    rope: bool
    divide_directions: bool


# (file holds cls_token, file holds rope.* tables) -> family
FAMILIES = {
    (True, False): VimFamily("A (class token in the middle, no rope)", "middle", False, True),
    (False, True): VimFamily("B (no class token, rope)", "none", True, False),
    (True, True): VimFamily("C (class token first, rope)", "first", True, False),
}


class VimBackbone(Loadable, Protocol):
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
    _check_shapes(matched, wanted, path)
    report = LoadReport(
        path=str(path),
        what=_described(family, side, model.grid),
        loaded=tuple(sorted(matched)),
        missing=tuple(sorted(set(wanted) - set(matched))),
        dropped=tuple(sorted(set(state) - set(wanted))),
    )
    _check_blocks(report, len(model.layers))
    load_matched(model, matched, report, f"Does {CONFIG_PREFIX}.depth fit the file?")
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


def _check_shapes(
    matched: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str | Path
) -> None:
    for name, tensor in matched.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path} has {name} of shape {tuple(tensor.shape)}, but this backbone needs "
                f"{tuple(wanted[name].shape)}: it is a ViM of another size. Choose the matching "
                f"file, or set {CONFIG_PREFIX}.embed_dim and its neighbours to the file's."
            )


def _check_blocks(report: LoadReport, depth: int) -> None:
    """Raise if blocks that are loaded have more tensors in the file, such as a layer scale.

    Whole blocks that are left out, because the file is of a deeper model, are a warning.
    """
    blocks = tuple(f"layers.{i}." for i in range(depth))
    extra = [name for name in report.dropped if name.startswith(blocks)]
    if extra:
        raise CheckpointError(
            f"{report.path} has {listed(extra)}, which this backbone's blocks do not have: it is "
            "a variant of ViM whose features would come out wrong here."
        )
    deeper = [name for name in report.dropped if name.startswith("layers.")]
    if deeper:
        logger.warning("%s is of a deeper ViM; left out are %s.", report.path, listed(deeper))


def _described(family: VimFamily, side: int, grid: tuple[int, int]) -> str:
    directions = "averaged" if family.divide_directions else "summed"
    resized = "" if grid == (side, side) else f", pos_embed {side}x{side} -> {grid[0]}x{grid[1]}"
    return f"ViM family {family.name}, directions {directions}{resized}"


def recognise_family(state: Mapping[str, Tensor], path: str | Path) -> VimFamily:
    """The family of a file's tensors, by which keys it has.

    Raises:
        CheckpointError: if this is no bidirectional ViM, or of no published family.
    """
    positions = state.get("pos_embed")
    if "layers.0.mixer.A_b_log" not in state or positions is None or positions.dim() != 3:
        raise CheckpointError(
            f"{path} is not a bidirectional ViM: it lacks pos_embed (1, positions, channels) or "
            f"layers.0.mixer.A_b_log. It holds {listed(sorted(state))}."
        )
    family = FAMILIES.get(("cls_token" in state, any(k.startswith("rope.") for k in state)))
    if family is None:
        raise CheckpointError(
            f"{path} has neither cls_token nor rope tables, which is none of the published ViM "
            "families, so how it was trained cannot be told. Load it with load_state_dict and set "
            "class_token, rope and divide_directions yourself."
        )
    return family


def grid_side(positions: Tensor, family: VimFamily, path: str | Path) -> int:
    """Rows (= columns) of the pretraining grid."""
    patches = positions.shape[1] - (family.class_token != "none")
    side = math.isqrt(max(patches, 0))
    if side == 0 or side * side != patches:
        raise CheckpointError(
            f"{path} looks like ViM family {family.name}, but its pos_embed has "
            f"{positions.shape[1]} rows, which leaves {patches} patches: not a square grid."
        )
    return side
