"""The filtered annotation file beside its source: reused only while nothing has changed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smalldet.data.errors import DataError
from smalldet.data.files import list_images, listing_checksum, sha256, write_atomically
from smalldet.data.filter.annotations import filter_coco
from smalldet.data.filter.classes import checked_merge
from smalldet.data.filter.report import FilterReport
from smalldet.data.images import check_image

SOURCE_NAME = "_annotations.coco.json"
FILTERED_NAME = "_annotations.coco_filtered.json"
FORMAT_VERSION = 2  # since JPEGs cut short before an end marker are left out
LAYOUT = (
    "Expected layout: ROOT/train, ROOT/valid and ROOT/test, each with its images and "
    f"{SOURCE_NAME}, as labelling services export COCO data (see docs/data.md). For painted data "
    "to try things with, add 'dataset.generate={_target_: toydata.heads.GeneratedHeads}'."
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilteredFile:
    """A filtered annotation file that is up to date.

    Attributes:
        path: of the file.
        content: the parsed COCO dictionary.
        report: what was left out or changed.
        checksum: sha256 of the file without the entry that holds it.
    """

    path: Path
    content: dict[str, Any]
    report: FilterReport
    checksum: str


def ensure_filtered(
    folder: Path, classes: Sequence[str], merge: Mapping[str, Sequence[str]] | None = None
) -> FilteredFile:
    """The filtered file of a split, built if there is none for just this source and classes.

    It is rebuilt if the source's checksum, the classes, what is merged into them, the image files
    (names and lengths) or the format version differ from those that it was made from, or if its own
    content is not what its checksum says. Images are decoded when it is built, each once. Several
    processes may do this at once: equal inputs give equal bytes, and files appear whole.

    Args:
        folder: of the split: images and the exported annotation file.
        classes: wanted class names.
        merge: by wanted class, the source classes that become it.

    Raises:
        DataError: something is missing or unusable, or the folder cannot be written to.
    """
    try:
        source = (folder / SOURCE_NAME).read_bytes()
    except OSError as error:
        raise DataError(
            f"{folder / SOURCE_NAME} cannot be read ({error.strerror}). {LAYOUT}"
        ) from error
    names = list_images(folder)
    if not names:
        raise DataError(f"{folder} holds {SOURCE_NAME} but no image files. {LAYOUT}")
    made_from = {
        "format_version": FORMAT_VERSION,
        "source": SOURCE_NAME,
        "source_sha256": sha256(source),
        "classes": list(classes),
        "image_files_sha256": listing_checksum(folder, names),
    }
    if merge := checked_merge(classes, merge or {}):  # without, the file is as it always was
        made_from["merge"] = merge
    path = folder / FILTERED_NAME
    return _read_if_current(path, made_from) or _build(path, source, names, made_from)


def _read_if_current(path: Path, made_from: dict[str, Any]) -> FilteredFile | None:
    try:
        data = path.read_bytes()
        body = b"{" + data[len(_with_checksum(b"{")) :]
        if data != _with_checksum(body):
            raise ValueError("damaged")
        content = json.loads(data)
        info = content["info"]
        report = FilterReport(**info["filter_report"])
        expected = {"filter_report": info["filter_report"], **made_from}
        differing = [k for k in {**info, **expected} if info.get(k) != expected.get(k)]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        logger.warning(
            "%s is damaged, or of an earlier version without a checksum; it is built again.", path
        )
        return None
    if differing:
        logger.info("%s is out of date (%s); it is built again.", path, ", ".join(differing))
        return None
    logger.info("%s", report.summary(f"{path} (up to date)"))
    return FilteredFile(path, content, report, sha256(body))


def _with_checksum(body: bytes) -> bytes:
    """A JSON object with its own checksum as its first entry."""
    return b'{"sha256": "%s", ' % sha256(body).encode() + body[1:]


def _build(
    path: Path, source: bytes, names: Sequence[str], made_from: dict[str, Any]
) -> FilteredFile:
    coco = _parsed(path.with_name(SOURCE_NAME), source)
    logger.info("%s: %d images are decoded once, to see whether they are whole.", path, len(names))
    with ThreadPoolExecutor() as pool:  # Pillow decodes several at once
        found = pool.map(check_image, (path.parent / name for name in names))
        sizes = dict(zip(names, found, strict=True))
    try:
        filtered, report = filter_coco(coco, made_from["classes"], sizes, made_from.get("merge"))
    except DataError as error:
        raise DataError(f"{path.with_name(SOURCE_NAME)}: {error}") from error
    content = {"info": {**made_from, "filter_report": asdict(report)}, "licenses": [], **filtered}
    body = json.dumps(content, allow_nan=False).encode()
    data = _with_checksum(body)
    write_atomically(path, data)
    level = logging.WARNING if report.counts else logging.INFO
    logger.log(level, "%s", report.summary(f"{path} (written)"))
    return FilteredFile(path, json.loads(data), report, sha256(body))


def _parsed(path: Path, source: bytes) -> Any:
    """The content of an annotation file.

    Raises:
        DataError: it is no JSON, or has numbers or depths that no annotation file has.
    """
    try:
        return json.loads(source.decode("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not valid JSON ({error}). The download or export was probably cut short: "
            f"fetch the file again."
        ) from error
    except (ValueError, RecursionError) as error:  # Python's limits
        raise DataError(
            f"{path} holds a number of thousands of digits, or lists that are nested a thousand "
            f"deep ({type(error).__name__}), as no annotation file does. Export the data set again."
        ) from error
