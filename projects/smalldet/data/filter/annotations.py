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
from smalldet.data.filter.classes import Merge, checked_merge, map_categories, names_by_id
from smalldet.data.filter.fields import is_id
from smalldet.data.filter.images import filter_images
from smalldet.data.filter.report import FilterReport
from smalldet.data.images import Size


def filter_coco(
    coco: Any,
    wanted: Sequence[str],
    image_sizes: Mapping[str, Size | str],
    merge: Merge | None = None,
) -> tuple[dict[str, Any], FilterReport]:
    """Keep the wanted classes of ``coco``, and only what is sound.

    Args:
        coco: the parsed annotation file. It is not changed.
        wanted: class names, in the order of their new category ids 1, 2, ...
        image_sizes: the existing image files, by path relative to the split's folder: (width,
            height) in px as shown, or which finding says why a file cannot be used; see
            :func:`smalldet.data.images.check_image`.
        merge: by wanted class, the source classes that become it; see :func:`checked_merge`.

    Returns:
        The filtered file's ``categories``, ``images`` and ``annotations`` (boxes xywh_abs), and
        the report.

    Raises:
        DataError: not a COCO file, a class is missing or would become two, or no image is left.
    """
    _check_shape(coco)
    report = FilterReport()
    merge = checked_merge(wanted, merge or {})
    new_categories = map_categories(coco["categories"], wanted, merge)
    names = names_by_id(coco["categories"])
    report.source_classes = _count_classes(coco["annotations"], names)
    images, new_ids = filter_images(coco["images"], image_sizes, report)
    annotations = filter_annotations(
        coco["annotations"], images, new_ids, names, new_categories, wanted, report
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


def _count_classes(annotations: Sequence[Any], names: Mapping[Any, str]) -> dict[str, int]:
    used = Counter(
        names.get(entry.get("category_id"))
        for entry in annotations
        if isinstance(entry, Mapping) and is_id(entry.get("category_id"))
    )
    return {name: used[name] for name in dict.fromkeys(names.values())}
