"""Look at a folder of event recordings, raw or prepared, as ``smalldet data`` does at images."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

PATTERNS = ("*/*.h5", "*/*.hdf5", "*/*.dat", "*/*.raw", "*/*/labels_v2/labels.npz")


def is_event_folder(root: Path) -> bool:
    """Whether folders in ``root`` hold recordings, raw or prepared."""
    return any(any(root.glob(pattern)) for pattern in PATTERNS)


def check(root: Path, options: Namespace, pictures: Path) -> int:
    """Print sizes of boxes by split and class, and recordings that two splits share.

    Args:
        root: an event folder.
        options: ``class_map`` and ``downsample``, of ``eventcam.prepare.folder_check.look_into``.
        pictures: folder for a histogram of the sizes of each split (PNG).

    Returns:
        1 if a recording cannot be read, else 0.

    Raises:
        EventDataError: there are no recordings that can be looked at together.
    """
    from boxmetrics.matching import AREA_RANGES
    from boxmetrics.slices import SizeThresholds, size_table, table_text
    from eventcam.prepare.folder_check import look_into
    from eventcam.prepare.size_report import box_sizes, draw_sizes

    found = look_into(root, options.class_map, options.downsample)
    names = found.class_map.classes
    limits = SizeThresholds(*(int(AREA_RANGES[size][1]) for size in ("small", "medium")))
    for split, recordings in found.splits.items():
        if not recordings:
            print(f"{split}: no recordings that can be read\n")
            continue
        sizes = box_sizes(recordings)
        height, width = sizes.resolution
        boxes, frames = len(sizes.areas), sizes.frames
        print(
            f"{split}: {sizes.recordings} recordings, {frames:,} labelled frames, {boxes:,} boxes, "
            f"{boxes / max(frames, 1):.1f} a frame; in px of the network's input, {width}x{height}"
        )
        print(table_text(size_table(sizes.areas, sizes.classes, names, limits), limits))
        if boxes:
            picture = pictures / f"{root.resolve().name}_{split}.png"
            draw_sizes(sizes, names, limits._asdict(), f"Boxes of {split}", picture)
            print(f"as a picture: {picture}")
        print()
    for keys, what in found.shared.items():
        same = f"{', '.join(keys)} have the same {' and '.join(what)}"
        print(f"{same}. If they are one, keep it once.")
    if not found.shared:
        print("No recording is there twice.")
    for key, reason in found.unreadable.items():
        print(f"left out: {key}: {reason}")
    return 1 if found.unreadable else 0
