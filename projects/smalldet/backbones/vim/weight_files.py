"""Telling the families of published ViM weight files apart.

Three families of weights have been published for the same architecture (Zhu et al., Vision Mamba,
2024, arXiv 2401.09417). They differ in ways that change every feature but no shape, so a wrong
guess loads without complaint and ruins the model. Families are therefore recognised by their
keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from smalldet.backbones.weight_files import CheckpointError, listed

CONFIG_PREFIX = "model.backbone.bottom_up"
DOWNLOAD = (
    "download vim_t_midclstok_76p1acc.pth from the model hustvl/Vim-tiny-midclstok on Hugging Face "
    f'and save it there, or run with random weights by {CONFIG_PREFIX}.init_checkpoint="".'
)


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
