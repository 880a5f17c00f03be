"""Raw recordings: ``<root>/<split>/<name>_td.h5`` (or ``.dat``, ``.raw``) and their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eventcam.errors import EventDataError
from eventcam.io.label_files import ENDINGS as LABEL_ENDINGS
from eventcam.io.rvt_layout import SPLITS

# Old recordings of Prophesee's first set are named <name>_td.dat.h5. Earlier endings are preferred.
_EVENT_ENDINGS = ("_td.h5", "_td.hdf5", "_td.dat.h5", "_td.dat", "_td.raw")
_EVENT_ENDINGS += (".h5", ".hdf5", ".dat", ".raw")


@dataclass(frozen=True)
class RawRecording:
    """One recording; a file that is missing is None.

    Attributes:
        split: "train", "val" or "test".
        name: without the endings; the name of its folder of representations.
        events: ``.h5``, ``.dat`` or ``.raw``.
        labels: ``*_bbox.npy``, ``.csv`` or ``.json``.
    """

    split: str
    name: str
    events: Path | None
    labels: Path | None

    @property
    def key(self) -> str:
        """How manifests and reports call it."""
        return f"{self.split}/{self.name}"

    def __str__(self) -> str:
        return self.key


def find_recordings(root: Path) -> list[RawRecording]:
    """All recordings below ``root``, by split and name.

    Raises:
        EventDataError: there is none, or one has two files of labels; the text says what is
            expected where.
    """
    found = [entry for split in SPLITS for entry in _in_split(root / split, split)]
    if not found:
        raise EventDataError(
            f"No recordings were found in {root}: expected are folders named {', '.join(SPLITS)} "
            f"with files <name>_td.h5 (or .dat, .raw) and <name>_bbox.npy (or .csv, .json). "
            f"Unpack the downloaded parts of each split into one folder of that name."
        )
    return found


def _in_split(folder: Path, split: str) -> Iterator[RawRecording]:
    if not folder.is_dir():
        return
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    labels: dict[str, Path] = {}
    events: dict[str, Path] = {}
    for path in files:
        name = path.name.rpartition("_bbox")[0]
        if path.name.endswith(LABEL_ENDINGS) and labels.setdefault(name, path) != path:
            raise EventDataError(
                f"{folder} has labels of {name} in {labels[name].name} and in {path.name}. Keep "
                f"one of the two files there."
            )
    for ending in _EVENT_ENDINGS:
        for path in files:
            if path.name.endswith(ending) and path not in events.values():
                events.setdefault(path.name.removesuffix(ending), path)
    for name in sorted(labels.keys() | events.keys()):
        yield RawRecording(split, name, events.get(name), labels.get(name))
