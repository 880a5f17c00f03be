"""Names of the files in a folder of prepared recordings, and writing them.

The layout is that of RVT's own preparation (Gehrig and Scaramuzza, CVPR 2023), so that either
program reads what the other wrote. Per recording, in ``<root>/<split>/<name>/``::

    labels_v2/labels.npz                  labels, objframe_idx_2_label_idx
    labels_v2/timestamps_us.npy           (frames,) int64
    labels_v2/label_grid_us.npy           ours: every time at which labels were drawn
    event_representations_v2/stacked_histogram_dt=50_nbins=10/
        event_representations[_ds2_nearest|_ds2_sum].h5      data: (N, 20, H, W) uint8
        timestamps_us.npy                 (N,) int64, ends of the windows
        objframe_idx_2_repr_idx.npy       (frames,) int64
        known_empty_repr_idx.npy          ours: representations known to show no object
    preparation.json                      ours: sources, settings, counts

Voxel grids, which are ours, have the same files in ``voxel_grid_dt=50_nbins=10``, with data of
(N, 10, H, W) float16.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from eventcam.errors import EventDataError
from eventcam.io.bbox import without_gaps
from eventcam.io.hdf5 import COMPRESSION, Dataset, File, create_h5

SPLITS = ("train", "val", "test")
MANIFEST = "manifest.json"  # of the whole root
RECORD = "preparation.json"  # of one recording
LABELS = Path("labels_v2/labels.npz")
FRAME_TIMES = Path("labels_v2/timestamps_us.npy")
LABEL_GRID = Path("labels_v2/label_grid_us.npy")
REPRESENTATIONS = Path("event_representations_v2/stacked_histogram_dt=50_nbins=10")
WINDOW_ENDS = REPRESENTATIONS / "timestamps_us.npy"
FRAME_STEPS = REPRESENTATIONS / "objframe_idx_2_repr_idx.npy"
KNOWN_EMPTY = REPRESENTATIONS / "known_empty_repr_idx.npy"
LABELS_KEY, LABEL_STARTS_KEY = "labels", "objframe_idx_2_label_idx"
DATA_KEY = "data"

HISTOGRAM = "histogram"
DTYPES = {HISTOGRAM: np.uint8, "voxel": np.float16}

_FOLDERS = {HISTOGRAM: REPRESENTATIONS.name, "voxel": "voxel_grid_dt=50_nbins=10"}
_SUFFIX = {"none": "", "nearest": "_ds2_nearest", "sum": "_ds2_sum"}


def path_of(representation: str, path: Path) -> Path:
    """Where a representation has the file that histograms have at ``path``."""
    return path.parents[1] / _FOLDERS[representation] / path.name


def representation_file(downsample: str, representation: str = HISTOGRAM) -> Path:
    """The HDF5 file below a recording's folder."""
    name = f"event_representations{_SUFFIX[downsample]}.h5"
    return path_of(representation, REPRESENTATIONS / name)


def command_option(representation: str | None) -> str:
    """What a preparation command says more, to make something else than histograms."""
    return "" if representation in (None, HISTOGRAM) else f" --representation {representation}"


def find_representation(
    folder: Path, downsample: str | None, representation: str | None
) -> tuple[str, str]:
    """Way to half resolution and kind of what a recording's folder holds; None takes the only one.

    Raises:
        EventDataError: there is no such one, or several.
    """
    kinds = list(itertools.product(_SUFFIX, _FOLDERS))
    found = [kind for kind in kinds if (folder / representation_file(*kind)).exists()]
    wanted = (downsample, representation)
    fitting = [
        kind for kind in found if all(w in (None, k) for w, k in zip(wanted, kind, strict=True))
    ]
    if len(fitting) == 1:
        return fitting[0]
    shown = ", ".join(" ".join(kind) for kind in found) or "no representations"
    asked = " ".join(filter(None, wanted)) or "the only one"
    raise EventDataError(
        f"{folder} has {shown}; asked for was {asked}. Name one of them as downsample and "
        "representation, or prepare the recording."
    )


def which_representation(folder: Path, downsample: str | None) -> str:
    """How the half resolution of a prepared recording was made; None takes the only way there is.

    Raises:
        EventDataError: there is none of that kind, or there are several.
    """
    found = [kind for kind in _SUFFIX if (folder / representation_file(kind)).exists()]
    if downsample is None and len(found) == 1:
        return found[0]
    if downsample in found:
        return downsample
    raise EventDataError(
        f"{folder} has the representations {found or 'of no kind'}, asked for was "
        f"{downsample or 'the only one'}. Name one of them as downsample, or prepare the recording."
    )


def save_array(folder: Path, name: Path, array: np.ndarray) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    np.save(folder / name, array)


def save_labels(folder: Path, labels: np.ndarray, frames_us: np.ndarray) -> None:
    """Boxes of all frames, sorted by time, and where those of each frame begin."""
    starts = np.searchsorted(labels["t"], frames_us).astype(np.int64)
    (folder / LABELS).parent.mkdir(parents=True, exist_ok=True)
    np.savez(folder / LABELS, **{LABELS_KEY: without_gaps(labels), LABEL_STARTS_KEY: starts})
    save_array(folder, FRAME_TIMES, frames_us)


def create_representations(
    folder: Path,
    downsample: str,
    steps: int,
    shape: tuple[int, int, int],
    representation: str = HISTOGRAM,
) -> tuple[File, Dataset]:
    """A new file with room for ``steps`` representations of ``shape``; the first axis resizes."""
    path = folder / representation_file(downsample, representation)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = create_h5(path)
    data = file.create_dataset(
        DATA_KEY,
        shape=(steps, *shape),
        maxshape=(None, *shape),
        chunks=(1, *shape),
        dtype=DTYPES[representation],
        **COMPRESSION,
    )
    return file, data
