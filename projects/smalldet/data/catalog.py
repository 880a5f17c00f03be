"""Registration of COCO-format splits with Detectron2's catalogs: explicit and repeatable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from smalldet.data.errors import DataError
from smalldet.data.filter.cache import FilteredFile


def register_split(name: str, filtered: FilteredFile, classes: tuple[str, ...]) -> None:
    """Make a split known to Detectron2 under ``name``; doing it again changes nothing.

    Metadata: ``thing_classes``, ``thing_dataset_id_to_contiguous_id`` (ids 1, 2, ... to 0, 1,
    ...), ``json_file``, ``image_root``, ``evaluator_type``, ``filtered_sha256``.

    Raises:
        DataError: the name is taken by other content.
    """
    metadata = _metadata_of(filtered, classes)
    if name in DatasetCatalog:
        _check_same(name, metadata)
        return
    MetadataCatalog.pop(name, None)  # left from a set that was removed from the other catalog
    DatasetCatalog.register(name, lambda: dataset_dicts(filtered))
    MetadataCatalog.get(name).set(**metadata)


def _metadata_of(filtered: FilteredFile, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "thing_classes": list(classes),
        "thing_dataset_id_to_contiguous_id": {n + 1: n for n in range(len(classes))},
        "json_file": str(filtered.path),
        "image_root": str(filtered.path.parent),
        "evaluator_type": "coco",
        "filtered_sha256": filtered.checksum,
    }


def _check_same(name: str, metadata: dict[str, Any]) -> None:
    known = MetadataCatalog.get(name).as_dict()
    differing = [key for key, value in metadata.items() if known.get(key) != value]
    if differing:
        raise DataError(
            f"A data set named {name!r} is already registered, from "
            f"{known.get('json_file', 'somewhere else')}, and differs in {', '.join(differing)}. "
            f"If the files were changed meanwhile, start again in a new process; if another "
            f"program part took the name, remove it there (DatasetCatalog.remove)."
        )


def dataset_dicts(filtered: FilteredFile) -> list[dict[str, Any]]:
    """The images of a filtered file in Detectron2's format, by image id.

    Boxes are xywh_abs in px of the image, categories count from 0.
    """
    annotations: dict[int, list[dict[str, Any]]] = {}
    for entry in filtered.content["annotations"]:
        annotations.setdefault(entry["image_id"], []).append(
            {
                "bbox": list(entry["bbox"]),
                "bbox_mode": BoxMode.XYWH_ABS,
                "category_id": entry["category_id"] - 1,
                "iscrowd": entry["iscrowd"],
            }
        )
    folder = Path(filtered.path).parent
    return [
        {
            "file_name": str(folder / image["file_name"]),
            "image_id": image["id"],
            "height": image["height"],
            "width": image["width"],
            "annotations": annotations.get(image["id"], []),
        }
        for image in filtered.content["images"]
    ]
