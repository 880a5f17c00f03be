"""From a data set entry to a model input, with randomness that can be repeated sample by sample."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances

from smalldet.data.augment import LabelledImage
from smalldet.data.errors import DataError
from smalldet.data.images import channels_first, read_image

_ROUNDING = 1e-6
_WORD = 0xFFFFFFFF


@contextmanager
def seeded_numpy(seed: int, counter: int) -> Iterator[None]:
    """Inside, the global generators of numpy and ``random`` depend on the arguments only.

    Detectron2's augmentations draw from the global numpy generator. Both states are put back.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    np.random.seed([seed & _WORD, (seed >> 32) & _WORD, counter & _WORD, (counter >> 32) & _WORD])
    random.seed(int(np.random.randint(2**31)))
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


class SeededMapper:
    """Read, augment, and pack one image.

    The result is a function of the image (and of those that a mosaic draws from), ``seed`` and the
    entry's ``sample_counter`` alone: which worker process does the work, and when, does not matter.

    Args:
        augmentations: Detectron2 augmentations or transforms, applied in order.
        is_train: whether annotations become training targets.
        image_format: of the model's input, as Detectron2's ``read_image`` takes it.
        seed: of the augmentations.
        with_instances: whether to give targets; by default if ``is_train``. True in evaluation
            serves the validation loss.
        min_visible: share of its area, 0 to 1, that augmentations must leave of a box; what is cut
            to less, by a crop, is no target.
    """

    def __init__(
        self,
        augmentations: Sequence[Any],
        is_train: bool,
        image_format: str = "RGB",
        seed: int = 0,
        with_instances: bool | None = None,
        min_visible: float = 0.0,
    ) -> None:
        self.augmentations = T.AugmentationList(list(augmentations))
        self.is_train = is_train
        self.image_format = image_format
        self.seed = seed
        self.with_instances = is_train if with_instances is None else with_instances
        self.min_visible = min_visible

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The model input for one entry.

        Args:
            record: Detectron2 data set entry; ``sample_counter`` is the sample's place in the
                global stream, 0 if absent.

        Returns:
            ``image`` (C, H, W) uint8; ``file_name``, ``image_id``, ``height`` and ``width`` (px of
            the original); with targets also ``instances`` (``gt_boxes`` xyxy_abs in px of
            ``image``, ``gt_classes``) and ``dropped_boxes``, the number of boxes that the
            augmentations left too little of.

        Raises:
            DataError: the image cannot be read, or has another size than its entry.
        """
        seen = read_labelled(record, self.image_format)
        with seeded_numpy(self.seed, int(record.get("sample_counter", 0))):
            self.augmentations(seen)
        keys = ("file_name", "image_id", "height", "width", "sample_counter")
        sample = {key: record[key] for key in keys if key in record}
        sample["image"] = torch.from_numpy(channels_first(seen.image))
        if self.with_instances:
            sample["instances"] = make_instances(seen, self.min_visible)
            sample["dropped_boxes"] = len(seen.boxes) - len(sample["instances"])
        return sample


def read_labelled(record: Mapping[str, Any], image_format: str) -> LabelledImage:
    """The image of a data set entry with its boxes; crowds are no targets.

    Raises:
        DataError: see :class:`SeededMapper`.
    """
    image = read_checked(record, image_format)
    targets = [entry for entry in record.get("annotations", ()) if not entry.get("iscrowd", 0)]
    boxes = [
        BoxMode.convert(list(entry["bbox"]), entry["bbox_mode"], BoxMode.XYXY_ABS)
        for entry in targets
    ]
    classes = np.array([entry["category_id"] for entry in targets], dtype=np.int64)
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return LabelledImage(image, corners, classes, image_format)


def read_checked(record: Mapping[str, Any], image_format: str) -> np.ndarray:
    """The image (H, W, C) uint8, turned as its EXIF entry says, in ``image_format``.

    Raises:
        DataError: see :class:`SeededMapper`.
    """
    name = record["file_name"]
    try:
        image = read_image(name, image_format)
    except DataError as error:
        raise DataError(
            f"{error} Replace it with an intact file of the same size and continue with --resume; "
            "or delete it, which leaves its entry out, and start a new run with one image less in "
            "train.images."
        ) from error
    expected = (record.get("height", image.shape[0]), record.get("width", image.shape[1]))
    if image.shape[:2] != expected:
        raise DataError(
            f"The image {name} is {image.shape[1]} x {image.shape[0]} px, its entry says "
            f"{expected[1]} x {expected[0]}: the file was replaced after the annotation file was "
            f"filtered. Put the original back, or export both again."
        )
    return image


def make_instances(seen: LabelledImage, min_visible: float = 0.0) -> Instances:
    """Training targets in an augmented image: boxes that have an area, and enough of it left.

    Args:
        seen: after augmentation.
        min_visible: share of its area, 0 to 1, that must be left of a box.
    """
    height, width = (int(side) for side in seen.image.shape[:2])
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.as_tensor(seen.boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.from_numpy(seen.classes)
    has_area = instances.gt_boxes.nonempty(threshold=1e-5)
    is_left = torch.from_numpy(seen.visible) > min_visible - _ROUNDING
    return instances[cast(torch.BoolTensor, has_area & is_left)]
