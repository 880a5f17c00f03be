"""Detections on images, as numpy arrays or files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import Instances
from torch import nn

from smalldet.data.errors import DataError
from smalldet.data.images import channels_first
from smalldet.data.images import read_image as read_file
from smalldet.data.mapper import read_checked
from smalldet.evaluation.tiles import Tiling, detect_tiled

Image = np.ndarray | str | Path
FORMATS = ("RGB", "BGR")


class ImagePredictor:
    """A model of single images with all that turns an image into its input.

    Args:
        model: takes Detectron2's dicts and gives ``{"instances": Instances}`` for each.
        class_names: by class id.
        augmentations: Detectron2's, of evaluation (a resize).
        image_format: of the model's input, "RGB" or "BGR".
        tiling: cut images into tiles; None sees each image whole, once.
        batch_size: tiles that the model sees at once.
    """

    def __init__(
        self,
        model: nn.Module,
        class_names: Sequence[str],
        augmentations: Sequence[Any],
        image_format: str = "RGB",
        tiling: Tiling | None = None,
        batch_size: int = 4,
    ) -> None:
        if image_format not in FORMATS:
            raise ValueError(
                f"The model takes {image_format} images; expected {' or '.join(FORMATS)}."
            )
        self.model = model.eval()
        self.class_names = list(class_names)
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format
        self.tiling = tiling
        self.batch_size = batch_size

    @overload
    def predict(self, images: Image, format: str = ..., min_score: float = ...) -> Instances: ...
    @overload
    def predict(
        self, images: Sequence[Image], format: str = ..., min_score: float = ...
    ) -> list[Instances]: ...

    def predict(
        self, images: Image | Sequence[Image], format: str = "BGR", min_score: float = 0.0
    ) -> Instances | list[Instances]:
        """Detections on an image, or on each of several.

        Args:
            images: files, or arrays (H, W, 3), (H, W, 4) or (H, W) uint8; one or a list.
            format: order of an array's channels, "BGR" (OpenCV's) or "RGB"; files know theirs.
            min_score: detections below it are left out.

        Returns:
            ``Instances`` on the CPU with ``pred_boxes`` (xyxy_abs, px of the image), ``scores`` and
            ``pred_classes``, from high to low score; a list for a list.

        Raises:
            ValueError: an array that is no image.
            OSError: a file that cannot be read.
        """
        if isinstance(images, np.ndarray | str | Path):
            return self._predict_one(images, format, min_score)
        return [self._predict_one(image, format, min_score) for image in images]

    def _predict_one(self, image: Image, format: str, min_score: float) -> Instances:
        pixels = read_image(image, format, self.image_format)
        if self.tiling is None:
            found = self._detect([pixels])[0]
        else:
            found = detect_tiled(self._detect, pixels, self.tiling)
        found = found[found.scores >= min_score]
        return found[found.scores.argsort(descending=True, stable=True)]

    def _detect(self, parts: Sequence[np.ndarray]) -> list[Instances]:
        """Detections on each (h, w, 3) uint8 image in the model's format."""
        found: list[Instances] = []
        for start in range(0, len(parts), self.batch_size):
            inputs = [self._model_input(part) for part in parts[start : start + self.batch_size]]
            with torch.inference_mode():
                outputs = self.model(inputs)
            found += [output["instances"].to("cpu") for output in outputs]
        return found

    def _model_input(self, pixels: np.ndarray) -> dict[str, Any]:
        seen = T.AugInput(pixels)
        self.augmentations(seen)
        resized = cast(np.ndarray, seen.image)  # fvcore's abstract apply_image reads as None
        image = torch.from_numpy(channels_first(resized))
        return {"image": image, "height": pixels.shape[0], "width": pixels.shape[1]}


class TiledDetector(nn.Module):
    """A detector for evaluators that looks at the images of a data set in tiles.

    Args:
        model: a detector of single images.
        mapper: of evaluation, with ``augmentations`` and ``image_format``.
        tiling: how images are cut.
    """

    def __init__(self, model: nn.Module, mapper: Any, tiling: Tiling) -> None:
        super().__init__()
        was_training = model.training
        parts = mapper.augmentations.augs, mapper.image_format
        self.predictor = ImagePredictor(model, (), *parts, tiling)
        self.model = model  # in the same mode from here on
        self.train(was_training)

    def forward(self, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Instances]]:
        """Detections in px of the original image, which is read anew for each input."""
        images = (read_checked(one, "RGB") for one in inputs)
        return [{"instances": self.predictor.predict(image, "RGB")} for image in images]


def read_image(image: Image, given: str, wanted: str) -> np.ndarray:
    """An image as (H, W, 3) uint8.

    Args:
        image: a file, turned as its EXIF entry says; or an array as in
            :meth:`ImagePredictor.predict`.
        given: order of an array's channels, "RGB" or "BGR".
        wanted: of the result.

    Raises:
        ValueError: the array is no image, or ``given`` no order.
        OSError: the file cannot be read.
    """
    if not isinstance(image, np.ndarray):
        return _read_file(Path(image), wanted)
    if given not in FORMATS:
        raise ValueError(f'format="{given}" was given; expected "BGR" (as OpenCV reads) or "RGB".')
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            f"The image is an array {image.shape} of {image.dtype}; expected (height, width, 3) "
            "uint8 of 0 to 255."
        )
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] not in (3, 4):
        raise ValueError(f"The image has {image.shape[2]} channels; expected 1, 3 or 4.")
    colours = image[:, :, :3]
    return np.ascontiguousarray(colours if given == wanted else colours[:, :, ::-1])


def _read_file(path: Path, wanted: str) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(f"There is no image {path}.")
    try:
        return read_file(path, wanted)
    except DataError as error:
        raise OSError(str(error)) from error
