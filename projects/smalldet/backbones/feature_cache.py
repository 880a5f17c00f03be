"""Features of a frozen backbone on disk, found by the very pixels that went in.

The address of an entry is made of a checksum of the backbone (class, settings, weights) and one of
the image as the backbone got it. Other weights, data, sizes or preprocessing have other addresses,
so a stale entry cannot be read.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from runfolder.files import replacing

Features = dict[str, Tensor]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
TOLERANCES = {"fp32": 1e-4, "fp16": 5e-3}  # relative to the largest feature
CHECKED = 3  # entries that every start computes again
_NOT_IN_KEY = {"init_checkpoint", "pretrained", "scan_backend"}  # they do not decide the features


class FeatureCache:
    """What ``backbone`` gives for images, one file an image.

    Args:
        root: folder; each backbone and ``dtype`` has a folder of its own in it.
        backbone: a frozen ``FeatureBackbone``, on any device.
        dtype: "fp32", exact; or "fp16", half the disk, features rounded to 11 bits.

    Raises:
        ValueError: the backbone is not frozen, or the dtype is unknown.
    """

    def __init__(self, root: str | Path, backbone: Any, dtype: str = "fp32") -> None:
        if not backbone.frozen:
            raise ValueError(
                f"Only a frozen backbone's features can be kept on disk, and this "
                f"{type(backbone).__name__} is trained, or a part of it. Set its frozen=true "
                "(trainable_layers=null), or train without train.feature_cache."
            )
        if dtype not in DTYPES:
            raise ValueError(f'The features are kept as "fp32" or "fp16", not as "{dtype}".')
        self.root, self.backbone, self.dtype = Path(root), backbone, dtype
        self._to_check = CHECKED
        self._folder: tuple[int, Path] | None = None

    @property
    def folder(self) -> Path:
        """Where the entries of the backbone with its weights of now are."""
        version = sum(x._version for x in (*self.backbone.parameters(), *self.backbone.buffers()))
        if self._folder is None or self._folder[0] != version:
            self._folder = version, self.root / f"{checksum(self.backbone)}_{self.dtype}"
        return self._folder[1]

    def add(self, images: Tensor) -> int:
        """Compute and write the features of ``images`` (B, 3, H, W) that are not there.

        Returns:
            How many were computed.
        """
        missing = [image for image in images if not self._path(image).exists()]
        for image in missing:
            with replacing(self._path(image)) as partial:
                save_file(self._stored(self._compute(image)), partial)
        return len(missing)

    def read(self, images: Tensor) -> Features:
        """Features by name, each (B, C, h, w) fp32, of ``images`` (B, 3, H, W).

        What is not on disk is computed, but not in training.

        Raises:
            ValueError: in training, an image is not on disk; or an entry is not what the backbone
                computes today.
        """
        parts = [self._one(image) for image in images]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _one(self, image: Tensor) -> Features:
        path = self._path(image)
        if not path.exists():
            if torch.is_grad_enabled():
                raise ValueError(self._missing())
            return self._compute(image)
        found = {k: v.to(torch.float32) for k, v in load_file(path, str(image.device)).items()}
        if self._to_check:
            self._to_check -= 1
            self._compare(found, self._compute(image), path)
        return found

    def _compute(self, image: Tensor) -> Features:
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            return self.backbone.extract(image[None].float())

    def _stored(self, features: Features) -> Features:
        return {k: v.to(DTYPES[self.dtype]).cpu().contiguous() for k, v in features.items()}

    def _compare(self, found: Features, computed: Features, path: Path) -> None:
        for name, expected in computed.items():
            error = (found[name] - expected).abs().max() if name in found else torch.inf
            if not error <= TOLERANCES[self.dtype] * expected.abs().max():
                raise ValueError(
                    f"{path} does not hold what the backbone computes today ({name} differs by up "
                    f"to {float(error):.3g}): the file is damaged, or the code has changed. Remove "
                    f"{self.folder} and make it again with tools/cache_features.py."
                )

    def _path(self, image: Tensor) -> Path:
        digest = hashlib.blake2b(_bytes(image), digest_size=16, key=str(image.shape).encode())
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _missing(self) -> str:
        return (
            f"A training image is not in the feature cache {self.folder}. Make the cache with "
            "tools/cache_features.py and the same config. If that was done, something before the "
            "backbone is random (only a horizontal flip may be): train without train.feature_cache."
        )


def checksum(backbone: nn.Module) -> str:
    """Of the backbone's class, plain settings, weights and buffers, in 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for name, module in backbone.named_modules():
        digest.update(f"{name} {type(module).__qualname__} {_settings(module)}".encode())
    for name, tensor in (*backbone.named_parameters(), *backbone.named_buffers()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _settings(module: nn.Module) -> list[tuple[str, Any]]:
    """Public plain attributes."""
    return sorted(
        (name, value)
        for name, value in vars(module).items()
        if isinstance(value, int | float | str | tuple)
        and not name.startswith("_")
        and name not in _NOT_IN_KEY
    )


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().data
