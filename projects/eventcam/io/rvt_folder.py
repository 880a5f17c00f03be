"""Folders of prepared recordings, ours and those that RVT's own script made."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from shlex import quote
from typing import Any

from eventcam.class_maps import check_class_map, get_class_map
from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.io.arrays import damage_reported
from eventcam.io.records import check_settings, left_out_boxes, read_json, settings_of
from eventcam.io.rvt_recording import RvtRecording
from eventcam.labels import LabelFilter

LOG = logging.getLogger(__name__)


class RvtFolder:
    """A root of prepared recordings.

    With a manifest (our preparation) class map, representation and the way to half resolution must
    be those in it; without (RVT's script) the labels are taken to be in ``class_map`` already, with
    a warning unless its ids are the raw ones, which that script keeps. Another warning says that a
    filter left boxes out of the splits that are evaluated.

    Args:
        root: holds train, val and test.
        class_map: name of the class map, or own classes.
        downsample: way to half resolution; None takes the only one.
        train_filter: which boxes of the split train to take; None takes all, as in val and test.
        representation: "histogram" or "voxel"; None takes the only one.

    Attributes:
        root: holds train, val and test.
        class_map: name of the class map.
        skipped: recordings that could not be opened, with the reason, so far.

    Raises:
        EventDataError: prepared in another way than asked for, or no such folder.
    """

    def __init__(
        self,
        root: Path | str,
        class_map: str,
        downsample: str | None = None,
        train_filter: LabelFilter | None = None,
        representation: str | None = None,
    ) -> None:
        self.root = Path(root)
        self.class_map = get_class_map(class_map)
        self.downsample, self.representation = downsample, representation
        self.train_filter = train_filter
        self.skipped: dict[str, str] = {}
        self._left_out: dict[str, Counter[str]] = {}
        path = self.root / layout.MANIFEST
        if path.exists():
            manifest = read_json(path)
            with damage_reported(path, "the manifest of prepared recordings"):
                settings = settings_of(manifest)
                check_class_map(settings.get("class_map", "unknown"), class_map, self.root)
                wanted = {"downsample": downsample, "representation": representation}
                check_settings(self.root, settings, wanted, self._command("OUT"))
                self._left_out = left_out_boxes(manifest)
                self._warn_of_filter(settings.get("label_filter"))
        elif any((self.root / split).is_dir() for split in layout.SPLITS):
            self._say_whose_classes()
        else:
            raise EventDataError(
                f"{self.root} holds no prepared recordings (no folder train, val or test). Prepare "
                f"them with `{self._command(self.root)}`."
            )

    def recordings(self, split: str) -> list[RvtRecording]:
        """The recordings of a split, by name.

        Damaged ones, and those that the manifest lists and that are gone, are logged and kept in
        ``skipped``.
        """
        folder = self.root / split
        for key in self._left_out:
            if key.startswith(f"{split}/") and not (self.root / key).is_dir():
                self._skip(key, f"{self.root / key} is gone, but {layout.MANIFEST} lists it.")
        names = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        opened = (self._open(p) for p in names if not p.name.startswith("."))
        return [recording for recording in opened if recording is not None]

    def _skip(self, key: str, reason: str) -> None:
        LOG.warning("left out: %s", reason)
        self.skipped[key] = reason

    def _command(self, out: Path | str) -> str:
        """What makes recordings as they are asked for here."""
        downsample = f"--downsample {self.downsample} " if self.downsample else ""
        return (
            f"tools/prepare_events.py RAW {out} {downsample}--class-map "
            f"{quote(self.class_map.name)}{layout.command_option(self.representation)}"
        )

    def _say_whose_classes(self) -> None:
        names = ", ".join(f"{i} {name}" for i, name in enumerate(self.class_map.classes))
        text = (
            f"{self.root} has no {layout.MANIFEST}, so another program made it; its class ids are "
            f"taken to be those of the class map {self.class_map.name} ({names})."
        )
        advice = (
            " RVT's own script keeps eTraM's raw ids: for a folder that it made, "
            "dataset.class_map=etram_raw8 is what fits."
        )
        LOG.info(text) if self.class_map.keeps_ids else LOG.warning(text + advice)

    def _warn_of_filter(self, found: dict[str, Any] | None) -> None:
        if not found:
            return
        evaluated = [n for key, n in self._left_out.items() if not key.startswith("train/")]
        LOG.warning(
            "%s was prepared with a filter (%s) that left %d boxes out of val and test; scores of "
            "all boxes (bbox/) are without them. It can be used as it is; prepare the recordings "
            "into another folder to score those boxes, too.",
            self.root,
            ", ".join(f"{name} {value}" for name, value in found.items()),
            sum(sum(counts.values()) for counts in evaluated),
        )

    def _open(self, folder: Path) -> RvtRecording | None:
        key = f"{folder.parent.name}/{folder.name}"
        chosen = self.train_filter if folder.parent.name == "train" else None
        try:
            kind = self.downsample, chosen, self.representation
            found = RvtRecording(folder, len(self.class_map.classes), *kind)
        except EventDataError as error:
            self._skip(key, str(error))
            return None
        found.left_out.update(self._left_out.get(key, {}))
        return found
