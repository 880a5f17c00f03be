"""The annotation side of filtering an annotation file: which boxes are sound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from smalldet.data.filter.fields import as_number, has_id, is_id, is_set, shown
from smalldet.data.filter.report import FilterReport

_PLAY_PX = 1e-3  # rounding of exported coordinates; less than this outside is not reported


def filter_annotations(
    entries: Sequence[Any],
    images: Sequence[Mapping[str, Any]],
    new_ids: Mapping[Any, int | None],
    names: Mapping[Any, str],
    new_categories: Mapping[Any, int],
    wanted: Sequence[str],
    report: FilterReport,
) -> list[dict[str, Any]]:
    """Annotations of kept images and wanted classes with sound boxes, in their source order.

    Args:
        entries: the source's list of annotations.
        images: the kept images.
        new_ids: source image id to new id, None for an image that was left out.
        names: source category id to its name.
        new_categories: source category id to new id, wanted classes only.
        wanted: their names, in the order of the new ids.
        report: findings are added to it.
    """
    kept: list[dict[str, Any]] = []
    seen_ids: set[tuple[type, Any]] = set()
    seen_boxes: set[tuple[Any, ...]] = set()
    for position, entry in enumerate(entries):
        where = _name_of(entry) if isinstance(entry, Mapping) else f"[{position}]"
        problem = _problem_of(entry, new_ids, names, new_categories)
        if problem is not None:
            report.note(problem, where)
            continue
        given = entry.get("id") if has_id(entry) else shown(entry.get("id"))
        if (type(given), given) in seen_ids:
            report.note("annotation_ids_repeated", where)
        seen_ids.add((type(given), given))
        image = images[(new_ids[entry["image_id"]] or 0) - 1]
        box = _checked_box(entry.get("bbox"), image, f"{where} of {image['file_name']}", report)
        if box is None:
            continue
        number = new_categories[entry["category_id"]]
        if (image["id"], number, *box) in seen_boxes:
            report.note("boxes_repeated", where)
            continue
        seen_boxes.add((image["id"], number, *box))
        old, new = names[entry["category_id"]], wanted[number - 1]
        if old != new:
            report.note("boxes_merged", f"{old} to {new}")
        kept.append(_new_annotation(entry, len(kept) + 1, image["id"], number, box, report))
    return kept


def _problem_of(
    entry: Any,
    new_ids: Mapping[Any, int | None],
    names: Mapping[Any, str],
    new_categories: Mapping[Any, int],
) -> str | None:
    """Why an annotation cannot be used, before its box is looked at."""
    if not isinstance(entry, Mapping):
        return "annotations_malformed"
    image_id, category_id = entry.get("image_id"), entry.get("category_id")
    if not is_id(image_id) or image_id not in new_ids:
        return "annotations_of_unknown_images"
    if new_ids[image_id] is None:
        return "annotations_of_left_out_images"
    if not is_id(category_id) or category_id not in names:
        return "annotations_of_unknown_categories"
    return None if category_id in new_categories else "boxes_of_other_classes"


def _checked_box(
    bbox: Any, image: Mapping[str, Any], where: str, report: FilterReport
) -> tuple[float, float, float, float] | None:
    """The box (xywh_abs) inside its image, or None with the reason noted."""
    numbers = _numbers(bbox)
    if len(numbers) != 4:
        report.note("boxes_malformed", where)
        return None
    x, y, width, height = numbers
    if not all(map(math.isfinite, (x, y, width, height))):
        report.note("boxes_non_finite", where)
        return None
    if width <= 0 or height <= 0:
        report.note("boxes_without_area", where)
        return None
    if any(isinstance(value, str) for value in bbox):
        report.note("boxes_as_text", where)
    x0, x1 = max(x, 0.0), min(x + width, float(image["width"]))
    y0, y1 = max(y, 0.0), min(y + height, float(image["height"]))
    if x1 <= x0 or y1 <= y0:
        report.note("boxes_outside", where)
        return None
    beyond = max(x0 - x, x + width - x1, y0 - y, y + height - y1)
    if beyond <= 0:
        return x, y, width, height
    if beyond > _PLAY_PX:
        report.note("boxes_clipped", where)
    return x0, y0, x1 - x0, y1 - y0


def _new_annotation(
    entry: Mapping[str, Any],
    number: int,
    image_id: int,
    category_id: int,
    box: tuple[float, float, float, float],
    report: FilterReport,
) -> dict[str, Any]:
    where = _name_of(entry)
    flags = entry.get("iscrowd"), entry.get("ignore")
    crowd = any(map(is_set, flags))
    if crowd:
        report.note("crowd_flags", where)
    if any(isinstance(flag, str) for flag in flags):
        report.note("flags_as_text", where)
    area, given = box[2] * box[3], as_number(entry.get("area"))
    if given is None or not abs(given - area) <= 0.01 * area + 1e-6:
        report.note("areas_replaced", where)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": list(box),
        "area": area,
        "iscrowd": int(crowd),
    }


def _name_of(entry: Mapping[str, Any]) -> str:
    return f"annotation {shown(entry.get('id'))}"


def _numbers(bbox: Any) -> list[float]:
    """The numbers of a box, those that are written as text too; none of anything else."""
    values = bbox if isinstance(bbox, list | tuple) else ()
    read = [_read(value) if isinstance(value, str) else as_number(value) for value in values]
    numbers = [value for value in read if value is not None]
    return numbers if len(numbers) == len(values) else []


def _read(text: str) -> float | None:
    """The number that a text says; None if it says none."""
    try:
        return float(text)
    except ValueError:
        return None
