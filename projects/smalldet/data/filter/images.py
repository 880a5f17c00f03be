"""The image side of filtering an annotation file: which entries have a sound file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smalldet.data.errors import DataError
from smalldet.data.files import same_name
from smalldet.data.filter.fields import as_number, has_id
from smalldet.data.filter.report import FilterReport
from smalldet.data.images import Size


def filter_images(
    entries: Sequence[Any], image_sizes: Mapping[str, Size | str], report: FilterReport
) -> tuple[list[dict[str, Any]], dict[Any, int | None]]:
    """The images to keep, in their source order.

    Args:
        entries: the source's list of images.
        image_sizes: see :func:`smalldet.data.filter.annotations.filter_coco`.
        report: findings are added to it.

    Returns:
        The new image entries (ids 1, 2, ...), and source image id to new id (None: left out).

    Raises:
        DataError: no image can be used.
    """
    on_disk = {same_name(name): name for name in image_sizes}
    new_ids: dict[Any, int | None] = {}
    by_file: dict[str, int | None] = {}
    images: list[dict[str, Any]] = []
    ambiguous = _ambiguous_ids(entries)
    for entry in entries:
        if not _is_image_entry(entry):
            report.note("images_malformed", entry)
            continue
        source_id, name = entry["id"], same_name(entry["file_name"])
        if source_id in ambiguous:
            report.note("images_with_shared_id", name)
            new_ids[source_id] = None
            by_file.setdefault(name, None)
        elif name in by_file:
            report.note("images_repeated", name)
            new_ids[source_id] = by_file[name]
        else:
            size = _checked_size(entry, on_disk.get(name), image_sizes, report)
            by_file[name] = new_ids[source_id] = len(images) + 1 if size else None
            if size:
                width, height = size
                images.append(
                    {
                        "id": len(images) + 1,
                        "file_name": on_disk[name],
                        "width": width,
                        "height": height,
                        "source_id": source_id,
                    }
                )
    for name in sorted(on_disk.keys() - by_file.keys()):
        report.note("files_without_entry", on_disk[name])
    if not images:
        raise DataError(
            f"None of the {len(entries)} image entries can be used. "
            + report.summary("What was found")
        )
    return images, new_ids


def _is_image_entry(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping)
        and has_id(entry)
        and isinstance(entry.get("file_name"), str)
        and bool(entry["file_name"])
    )


def _ambiguous_ids(entries: Sequence[Any]) -> set[Any]:
    """Image ids that stand for more than one file."""
    files: dict[Any, set[str]] = {}
    for entry in filter(_is_image_entry, entries):
        files.setdefault(entry["id"], set()).add(same_name(entry["file_name"]))
    return {source_id for source_id, names in files.items() if len(names) > 1}


def _checked_size(
    entry: Mapping[str, Any],
    file_name: str | None,
    image_sizes: Mapping[str, Size | str],
    report: FilterReport,
) -> Size | None:
    """Width and height of the file of an entry, or None with the reason noted."""
    if file_name is None:
        report.note("images_without_file", entry["file_name"])
        return None
    size = image_sizes[file_name]
    if isinstance(size, str):
        report.note(size, file_name)
        return None
    claimed = tuple(as_number(entry.get(side)) or 0 for side in ("width", "height"))
    if not all(side > 0 for side in claimed):
        report.note("sizes_filled", file_name)
    elif claimed != size:
        report.note("images_of_other_size", f"{file_name}: entry {claimed}, file {size}")
        return None
    return size
