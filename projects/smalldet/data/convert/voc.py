"""Pascal VOC's layout: ``Annotations/*.xml``, ``JPEGImages`` and ``ImageSets/Main/train.txt``.

The edges of boxes are taken as they are written. Objects that are marked as difficult stay, with
the flag by which evaluation ignores them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from globox import BoundingBox, ParsingError

from smalldet.data.convert.found import SPLITS, Box, Found, LabelledImage
from smalldet.data.errors import DataError
from smalldet.data.files import list_images
from smalldet.data.filter.report import FINDINGS
from smalldet.data.images import check_image

ANNOTATIONS, IMAGES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"


def read_voc(root: Path) -> Found:
    """The splits that ``ImageSets/Main`` lists; classes in the order of the alphabet.

    Raises:
        DataError: it lists none.
    """
    found = Found(())
    files = {Path(name).with_suffix("").as_posix(): name for name in list_images(root / IMAGES)}
    for split, names in SPLITS.items():
        paths = [root / SETS / f"{name}.txt" for name in names]
        text = "\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())
        for stem in dict.fromkeys(line.split()[0] for line in text.splitlines() if line.split()):
            _read_image(found, split, root, stem, files.get(stem))
    if not found.splits:
        raise DataError(
            f"{root / SETS} lists no image that could be read"
            f"{''.join(f'; {line}' for line in found.sentences())}. Expected are train.txt, "
            f"val.txt and test.txt with names of files in {ANNOTATIONS} and {IMAGES}, without "
            "their endings."
        )
    images = [image for split in found.splits.values() for image in split]
    found.classes = tuple(sorted({box.label for image in images for box in image.boxes}))
    return found


def _read_image(found: Found, split: str, root: Path, stem: str, name: str | None) -> None:
    annotation = root / ANNOTATIONS / f"{stem}.xml"
    if name is None:
        found.note(split, "listed names without an image (left out)", stem)
        return
    size = check_image(root / IMAGES / name)
    try:
        tree = ElementTree.parse(annotation).getroot()
    except (FileNotFoundError, ElementTree.ParseError, ValueError) as error:
        what = "file" if isinstance(error, FileNotFoundError) else "readable file"
        found.note(split, f"images without a {what} of annotations (left out)", annotation)
        return
    if isinstance(size, str):
        found.note(split, FINDINGS[size], root / IMAGES / name)
    elif _stated_size(tree) not in (None, size):
        found.note(split, "images of another size than their annotations (left out)", annotation)
    else:
        boxes = list(_read_boxes(found, split, tree, annotation))
        image = LabelledImage(root / IMAGES / name, name, size, boxes)
        found.splits.setdefault(split, []).append(image)


def _stated_size(tree: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height that an annotation states; None if it does not, or 0."""
    try:
        width, height = (int(tree.findtext(f"size/{side}", "")) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width and height else None


def _read_boxes(found: Found, split: str, tree: ElementTree.Element, path: Path) -> Iterator[Box]:
    for node in tree.iter("object"):
        try:
            box = BoundingBox.from_xml(node)
        except (ParsingError, ValueError, AssertionError):
            box = None
        if box is None or not all(map(math.isfinite, box.ltwh)) or min(box.ltwh[2:]) <= 0:
            found.note(split, "objects without a box (left out)", path)
            continue
        difficult = (node.findtext("difficult") or "").strip() == "1"
        if difficult:
            found.note(split, "difficult objects (kept; evaluation ignores them)", path)
        yield Box(box.label.strip(), *box.ltwh, difficult)
