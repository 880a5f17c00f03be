"""Comparisons of configuration and data that belong before the first iteration."""

from __future__ import annotations

from detectron2.data import MetadataCatalog

from smalldet.data.errors import DataError
from smalldet.data.splits import CocoSplits


def check_classes(dataset: CocoSplits, num_classes: int) -> None:
    """Classes of the data set, its category ids and the head's width must agree.

    Args:
        dataset: its splits are registered if they are not yet.
        num_classes: how many classes the model's head predicts.

    Raises:
        DataError: they do not; the text names both sides.
    """
    if num_classes != len(dataset.classes):
        raise DataError(
            f"The head predicts {num_classes} classes, but the data set {dataset.root} has "
            f"{len(dataset.classes)} ({', '.join(dataset.classes)}). Set the head's num_classes to "
            f"{len(dataset.classes)}, or name the wanted classes in dataset.classes."
        )
    expected = list(enumerate(dataset.classes, start=1))
    for split, name in dataset.register().items():
        content = dataset.filtered(split).content
        found = sorted((entry["id"], entry["name"]) for entry in content["categories"])
        used = {entry["category_id"] for entry in content["annotations"]}
        if found != expected or not used <= {number for number, _ in expected}:
            raise DataError(
                f"{dataset.annotation_file(split)} lists the categories {found} and uses the ids "
                f"{sorted(used)}, expected was {expected}. Delete that file: it is built again."
            )
        _check_metadata(name, dataset.classes)


def _check_metadata(name: str, classes: tuple[str, ...]) -> None:
    metadata = MetadataCatalog.get(name)
    if tuple(metadata.thing_classes) != classes:
        raise DataError(
            f"The data set {name} is registered with the classes {metadata.thing_classes}, the "
            f"config says {list(classes)}. Something else changed its metadata: register it once."
        )


def check_image_count(dataset: CocoSplits, images: int) -> None:
    """The schedule's number of training images must be the registered one.

    Args:
        dataset: its training split is counted, without negatives if it leaves them out.
        images: the config's ``train.images``.

    Raises:
        DataError: they differ; the text gives the override.
    """
    found = len(dataset.dicts("train"))
    if found != images:
        report = dataset.report("train")
        raise DataError(
            f"The config counts on {images} training images (train.images), but {dataset.root} has "
            f"{found} ({report.images} after filtering, {report.negatives} of them without a box; "
            f"keep_negatives={dataset.keep_negatives}). The number of iterations depends on it: "
            f"pass train.images={found}, or correct dataset.root."
        )
