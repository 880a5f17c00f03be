"""A data set of recorded streets: what can be asked for, and making it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from eventcam.class_maps import get_class_map
from eventcam.io import write_bbox, write_h5_recording
from eventcam.prepare.workers import check_main_guard, run_jobs
from eventcam.published import as_published
from toydata.folder import GeneratedDataError, ensure_folder
from toydata.streets.recording import generate_recording
from toydata.streets.settings import SceneSettings

GENERATOR_VERSION = 3  # raised whenever equal parameters give other files
SPLITS = ("train", "val", "test")
# In every marker; later parameters only where they are set, so that earlier folders stay valid.
_MARKED = ("seed", *SPLITS, "seconds", "width", "height", "lull")


@dataclass(frozen=True)
class GeneratedRecordings(SceneSettings):
    """A data set of recordings: two equal parameter sets give equal files.

    Attributes:
        seed: decides every recording.
        train: number of training recordings; ``val`` and ``test`` likewise.
    """

    seed: int = 0
    train: int = 8
    val: int = 2
    test: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.train, self.val, self.test) < 1 or self.seed < 0:
            raise GeneratedDataError(
                f"Generated data needs at least 1 recording in each split and a seed of at least "
                f"0; asked for was {self}."
            )

    def ensure(self, root: Path, workers: int = 0) -> None:
        """Record the data set ``root`` unless it is there; see :func:`ensure_folder`.

        Args:
            root: gets ``train``, ``val`` and ``test`` with ``<name>_td.h5`` and
                ``<name>_bbox.npy``.
            workers: processes; the files do not depend on it. 0 works in this one; with any, a
                script needs its ``if __name__ == "__main__"``.
        """
        if workers:
            check_main_guard()
        writers = {split: partial(self._write_split, split, workers) for split in SPLITS}
        ensure_folder(root, GENERATOR_VERSION, self._parameters(), writers)

    def write_recording(self, folder: Path, split: str, number: int) -> None:
        """Write recording ``number`` of a split, ``<split>_day_<number + 1>``, into ``folder``."""
        name = f"{split}_day_{number + 1:04d}"
        events, labels = generate_recording(self, [self.seed, SPLITS.index(split), number])
        write_bbox(folder / f"{name}_bbox.npy", labels)
        write_h5_recording(folder / f"{name}_td.h5", events, self.width, self.height)

    def _parameters(self) -> dict[str, Any]:
        values = asdict(self)
        set_here = {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}
        # Numbers of one type, so that 3 and 3.0 seconds are the same request.
        numbers = {"seconds": float(self.seconds), "lull": float(self.lull)}
        lists = {name: list(v) for name, v in set_here.items() if isinstance(v, tuple)}
        return {name: values[name] for name in _MARKED} | set_here | numbers | lists

    def _write_split(self, split: str, workers: int, folder: Path) -> None:
        write = partial(self.write_recording, folder, split)
        for _, outcome in run_jobs(write, range(getattr(self, split)), workers):
            if isinstance(outcome, Exception):
                raise outcome


def recordings_like(class_map: str, **settings: Any) -> GeneratedRecordings:
    """Recordings with sensor, raw classes and label rate of the data set of a class map.

    Args:
        class_map: its name, as ``gen1_2classes``.
        settings: of :class:`GeneratedRecordings`, instead of those or besides.
    """
    data_set = as_published(class_map)
    usual: dict[str, Any] = {"classes": get_class_map(class_map).raw}
    usual |= dict(zip(("width", "height"), data_set.sensor, strict=True))
    if data_set.frame_period_us is not None:
        usual["labels_per_second"] = 1_000_000 // data_set.frame_period_us
    return GeneratedRecordings(**(usual | settings))
