"""From an exported COCO annotation file to one that can be trained on: a pure function.

Kept are the wanted classes and, per box, what box detection needs; segmentations are left behind.
Ids are renumbered from 1 (COCO's evaluation takes annotation id 0 for "no match"). Every other
difference to the source is counted in a :class:`FilterReport`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from smalldet.data.errors import DataError
from smalldet.data.filter.boxes import filter_annotations
from smalldet.data.filter.images import Size, filter_images, has_id
from smalldet.data.filter.report import FilterReport


def filter_coco(
    coco: Any, wanted: Sequence[str], image_sizes: Mapping[str, Size | None]
) -> tuple[dict[str, Any], FilterReport]:
    """Keep the wanted classes of ``coco``, and only what is sound.

    Args:
        coco: the parsed annotation file. It is not changed.
        wanted: class names, in the order of their new category ids 1, 2, ...
        image_sizes: the existing image files, by path relative to the split's folder: (width,
            height) in px as shown, or None for a file that is no readable image.

    Returns:
        The filtered file's ``categories``, ``images`` and ``annotations`` (boxes xywh_abs), and
        the report.

    Raises:
        DataError: not a COCO file, a wanted class is missing, or no image is left.
    """
    _check_shape(coco)
    report = FilterReport()
    new_categories = _map_categories(coco["categories"], wanted)
    names = {entry.get("id"): str(entry.get("name")) for entry in _objects(coco["categories"])}
    report.source_classes = _count_classes(coco["annotations"], names)
    images, new_ids = filter_images(coco["images"], image_sizes, report)
    annotations = filter_annotations(
        coco["annotations"], images, new_ids, names, new_categories, report
    )
    to_learn = {entry["image_id"] for entry in annotations if not entry["iscrowd"]}
    report.images, report.boxes = len(images), len(annotations)
    report.negatives = len(images) - len(to_learn)
    categories = [
        {"id": number, "name": name, "supercategory": "none"}
        for number, name in enumerate(wanted, start=1)
    ]
    return {"categories": categories, "images": images, "annotations": annotations}, report


def _check_shape(coco: Any) -> None:
    for key in ("images", "annotations", "categories"):
        if not isinstance(coco, Mapping) or not isinstance(coco.get(key), list):
            raise DataError(
                f"This is no COCO annotation file: it must be an object with lists named images, "
                f"annotations and categories, and {key!r} is not there. Export the data set in "
                f"COCO JSON format."
            )


def _objects(entries: Sequence[Any]) -> list[Mapping[str, Any]]:
    return [entry for entry in entries if isinstance(entry, Mapping) and has_id(entry)]


def _map_categories(categories: Sequence[Any], wanted: Sequence[str]) -> dict[Any, int]:
    """Source category id to new id. Several source categories of one name become one."""
    found = [str(entry.get("name")) for entry in _objects(categories)]
    missing = [name for name in wanted if name not in found]
    if missing or not wanted or len(set(wanted)) < len(wanted):
        listed = ", ".join(repr(name) for name in found) or "none"
        raise DataError(
            f"Wanted are the classes {list(wanted)}, but the annotation file lists {listed}. "
            f"Name classes as they are written there, each once: dataset.classes=[...], or "
            f"--classes of datasets/register_custom_coco.py."
        )
    numbers = {name: number for number, name in enumerate(wanted, start=1)}
    return {
        entry["id"]: numbers[str(entry.get("name"))]
        for entry in _objects(categories)
        if str(entry.get("name")) in numbers
    }


def _count_classes(annotations: Sequence[Any], names: Mapping[Any, str]) -> dict[str, int]:
    used = Counter(
        names.get(entry.get("category_id"))
        for entry in annotations
        if isinstance(entry, Mapping) and isinstance(entry.get("category_id"), int | str)
    )
    return {name: used[name] for name in dict.fromkeys(names.values())}
