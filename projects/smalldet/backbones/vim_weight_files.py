"""Reading published ViM weight files and telling their families apart.

Three families of weights have been published for the same architecture (Zhu et al., Vision Mamba,
2024, arXiv 2401.09417). They differ in ways that change every feature but no shape, so a wrong
guess loads without complaint and ruins the model. Families are therefore recognised by their
keys.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

CONFIG_PREFIX = "model.backbone.bottom_up"
CONTAINER_KEYS = ("model", "model_ema", "state_dict")
MOST_NAMES = 6  # names listed in a message before "and N more"


class CheckpointError(ValueError):
    """A weight file that cannot be used as it is configured; the message says what to do."""


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


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a weight file by name, out of its container and without "module." prefix.

    Only tensors, plain values and ``argparse.Namespace`` (which published files hold) are
    unpickled, so a hostile file cannot run code.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, or holds no tensors by name.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"There are no ViM weights at {path}: download vim_t_midclstok_76p1acc.pth from the "
            "model hustvl/Vim-tiny-midclstok on Hugging Face and save it there, or run with random "
            f'weights by {CONFIG_PREFIX}.init_checkpoint="".'
        )
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on arbitrary bytes the unpickler may fail in any way
        reason = str(error).strip().split("\n")[0][:200]
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch weight file ({type(error).__name__}: {reason}). "
            "It may be damaged or incomplete (download it again), or hold Python objects other "
            "than tensors, which are refused because they could run foreign code."
        ) from error
    return _named_tensors(content, path)


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


def listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    shown = ", ".join(names[:MOST_NAMES]) or "nothing"
    return shown + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def _named_tensors(content: object, path: Path) -> dict[str, Tensor]:
    """Look into the known containers in order, then at the file's own top level."""
    top = content if isinstance(content, Mapping) else {}
    places = [*(top[key] for key in CONTAINER_KEYS if key in top), top]
    state = next((place for place in places if _holds_tensors(place)), None)
    if state is None:
        raise CheckpointError(
            f"{path} holds {type(content).__name__} with keys {listed(map(str, top))}, but "
            f"expected were tensors by name, bare or under {', '.join(CONTAINER_KEYS)}."
        )
    tensors = {str(name).removeprefix("module."): value for name, value in state.items()}
    odd = sorted(name for name, value in tensors.items() if not isinstance(value, Tensor))
    if odd:
        raise CheckpointError(f"{path} has entries that are no tensors: {listed(odd)}.")
    return tensors


def _holds_tensors(place: object) -> bool:
    return isinstance(place, Mapping) and any(isinstance(v, Tensor) for v in place.values())
