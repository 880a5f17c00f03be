"""Prepared voxel grids: what lies where, who may read it, how it plays; old folders stay."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from event_toys import HEIGHT, WIDTH, label_times, make_events, make_labels, write_recording

from eventcam.augment.sequence import Draw
from eventcam.dataset import EventRecordings
from eventcam.errors import EventDataError
from eventcam.io import rvt_layout as layout
from eventcam.io.rvt_folder import RvtFolder
from eventcam.io.rvt_recording import RvtRecording
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.folder_check import look_into
from eventcam.prepare.recording import Preparation
from eventcam.render.sources import open_footage
from eventcam.representations import VoxelGrid
from eventcam.sampling.sequences import Chunk, Sequences
from eventcam.windows import Windows, clean_chunks
from pictures.events import counts_to_image
from toydata.streets import GeneratedRecordings

EVENTS = make_events(6000)
VOXELS, HISTOGRAMS = Preparation(representation="voxel"), Preparation()


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    times = label_times(30)
    labels = make_labels(times[(times < 400_000) | (times > 800_000)])
    for split in ("train", "val"):
        write_recording(folder / split, "a", EVENTS, labels)
    return folder


@pytest.fixture(scope="module")
def voxels(raw) -> Path:
    prepare_all(raw, raw.parent / "voxels", VOXELS)
    return raw.parent / "voxels"


@pytest.fixture
def histograms(raw, tmp_path) -> Path:
    prepare_all(raw, tmp_path / "histograms", HISTOGRAMS)
    return tmp_path / "histograms"


@pytest.mark.parametrize("downsample", ["none", "nearest", "sum"])
def test_what_is_read_is_what_the_windows_give(raw, tmp_path, downsample):
    prepare_all(raw, tmp_path, Preparation(downsample=downsample, representation="voxel"))
    (recording,) = RvtFolder(tmp_path, "etram_cls8").recordings("train")
    grid = VoxelGrid(HEIGHT, WIDTH, downsample=downsample)
    assert (recording.representation, recording.downsample) == ("voxel", downsample)
    assert (recording.shape, recording.dtype) == (grid.shape, np.float16)
    windows = Windows(clean_chunks(iter([EVENTS]), WIDTH, HEIGHT, Counter()))
    wanted = [grid(events) for events in windows.cut(recording.timestamps_us.tolist())]
    found = recording.events(0, recording.num_steps)
    assert np.array_equal(found, np.stack(wanted)) and found.min() < 0 < found.max()


def test_labels_and_times_are_those_of_histograms(voxels, histograms):
    (one,), (other,) = (RvtFolder(f, "etram_cls8").recordings("val") for f in (voxels, histograms))
    for name in ("timestamps_us", "frame_steps", "frame_times_us", "known_empty_steps"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert len(one.known_empty_steps) and np.array_equal(one.boxes(0)[0], other.boxes(0)[0])
    names = {path.parent.name for path in (voxels / "val/a").rglob("*.h5")}
    assert names == {"voxel_grid_dt=50_nbins=10"} and not (one.folder / layout.WINDOW_ENDS).exists()
    assert json.loads((voxels / layout.MANIFEST).read_text())["settings"] == VOXELS.as_dict()


def test_a_folder_of_the_other_kind_is_refused_and_the_advice_works(voxels, histograms, raw):
    with pytest.raises(EventDataError, match="representation 'voxel', but 'histogram'"):
        EventRecordings(str(voxels)).recordings("train")
    with pytest.raises(EventDataError, match="'histogram', but 'voxel'") as caught:
        EventRecordings(str(histograms), representation="voxel").recordings("train")
    assert "--class-map etram_cls8 --representation voxel`" in str(caught.value)
    assert EventRecordings(str(voxels), representation="voxel").recordings("train")
    with pytest.raises(EventDataError, match=r"representation 'histogram' \(now 'voxel'\)"):
        prepare_all(raw, histograms, VOXELS)
    with pytest.raises(EventDataError, match=r"representation 'voxel' \(now 'histogram'\)"):
        prepare_all(raw, voxels, HISTOGRAMS)
    assert len(prepare_all(raw, voxels, VOXELS).reused) == 2


def test_folders_that_name_no_representation_hold_histograms(raw, histograms):
    for path in (histograms / layout.MANIFEST, *histograms.glob(f"*/*/{layout.RECORD}")):
        content = json.loads(path.read_text())
        del content["settings"]["representation"]
        path.write_text(json.dumps(content))
    assert EventRecordings(str(histograms)).recordings("train")
    with pytest.raises(EventDataError, match="'histogram', but 'voxel' is asked for"):
        RvtFolder(histograms, "etram_cls8", representation="voxel")
    assert len(prepare_all(raw, histograms, HISTOGRAMS).reused) == 2


def test_a_recording_with_both_kinds_is_chosen_by_name(voxels, histograms):
    name = layout.REPRESENTATIONS.parent
    shutil.copytree(voxels / "val/a" / name, histograms / "val/a" / name, dirs_exist_ok=True)
    folder = histograms / "val/a"
    with pytest.raises(EventDataError, match="nearest histogram, nearest voxel"):
        RvtRecording(folder, 8)
    for kind, dtype in layout.DTYPES.items():
        recording = RvtRecording(folder, 8, representation=kind)
        assert (recording.representation, recording.dtype) == (kind, dtype)
    with pytest.raises(EventDataError, match="asked for was sum voxel"):
        RvtRecording(folder, 8, "sum", representation="voxel")


def test_samples_are_signed_padded_and_augmented(voxels):
    (recording,) = RvtFolder(voxels, "etram_cls8").recordings("train")
    sequences, steps = Sequences([recording], 4), recording.num_steps
    plain = sequences[Chunk(0, steps - 3, steps, True, 0)]["events"]
    assert plain.dtype == torch.float16 and not plain[3:].any()
    assert np.array_equal(plain[:3], recording.events(steps - 3, steps))
    assert sequences[Chunk(0, 0, 0, True, 0)]["events"].dtype == torch.float16
    seen = set(plain.unique().tolist()) | {0.0}
    for degrees, zoom in ((0.0, 1.0), (5.0, 1.0), (0.0, 0.8), (0.0, 1.3)):
        drawn = Draw(True, degrees, zoom, 0.2, 0.4, 0.0)
        found = sequences[Chunk(0, steps - 3, steps, True, 0, drawn)]["events"]
        assert found.dtype == torch.float16 and found.shape == plain.shape and found.any()
        assert set(found.unique().tolist()) <= seen
    flipped = sequences[Chunk(0, 0, 4, True, 0, Draw(True, 0.0, 1.0, 0.0, 0.0, 0.0))]["events"]
    assert np.array_equal(flipped, recording.events(0, 4)[..., ::-1])


def test_pictures_show_both_polarities_of_the_same_events(voxels, histograms):
    footages = [open_footage(folder / "val/a") for folder in (voxels, histograms)]
    for voxel, count in zip(*(footage.shots for footage in footages), strict=True):
        on, off = voxel.counts
        assert (on <= count.counts[0] + 0.01).all() and (off <= count.counts[1] + 0.01).all()
        balance, wanted = on - off, count.counts[0] - count.counts[1]
        assert np.abs(balance - wanted).max() < 0.02
        alone = (count.counts[0] > 0) != (count.counts[1] > 0)
        pictures = (counts_to_image(*shot.counts)[alone].astype(int) for shot in (voxel, count))
        assert np.abs(np.subtract(*pictures)).max() <= 1


def test_sizes_of_boxes_are_found_in_a_folder_of_any_kind(voxels, histograms):
    one, other = look_into(voxels), look_into(histograms)
    assert [r.num_frames for r in one.splits["val"]] == [r.num_frames for r in other.splits["val"]]
    assert one.shared == other.shared and not one.unreadable


def test_a_data_set_makes_its_voxels_and_says_how(tmp_path):
    sizes = {"train": 1, "val": 1, "test": 1, "seconds": 0.5, "width": 96, "height": 72}
    dataset = EventRecordings(
        str(tmp_path / "street"),
        downsample="none",
        generate=GeneratedRecordings(**sizes),
        representation="voxel",
    )
    (recording,) = dataset.recordings("train")
    assert recording.shape == (10, 72, 96)
    with pytest.raises(EventDataError, match="--representation voxel`, or correct"):
        dataset.check({"model.head": 8}, images=999)
