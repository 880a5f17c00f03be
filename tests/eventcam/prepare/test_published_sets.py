"""Raw recordings of Prophesee's Gen1 and 1 Mpx sets, as they are published, to prepared ones."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from event_toys import make_labels, write_dat

from console.prepare_events import main
from eventcam.class_maps import GEN4_RAW, get_class_map
from eventcam.io import Events
from eventcam.io import rvt_layout as layout
from eventcam.io.rvt_folder import RvtFolder
from eventcam.prepare.folder_check import look_into
from eventcam.prepare.label_frames import STEP_US
from eventcam.published import as_published

GEN1, GEN4 = "gen1_2classes", "gen4_3classes"
OLDER = [("ts", "<u8"), *((name, "<f4") for name in "xywh"), ("class_id", "u1")]
OLDER += [("confidence", "<f4"), ("track_id", "<u4")]
TIMES = 250_000 * np.arange(1, 9)  # 4 Hz


def random_events(width, height, last_us=2_100_000, count=4000):
    rng = np.random.default_rng(1)
    x, y, p = (rng.integers(0, high, count) for high in (width, height, 2))
    times = np.sort(rng.integers(0, last_us + 1, count))
    times[-1] = last_us
    return Events(x.astype("u2"), y.astype("u2"), p.astype("u1"), times)


def write_h5(path, events, **size):
    """As the files that RVT's authors offer: plain columns, and perhaps the sensor's size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file.create_group("events")
        for name in "xypt":
            group.create_dataset(name, data=getattr(events, name).astype("i4"))
        for name, value in size.items():
            group.create_dataset(name, data=value)


def older(labels):
    """The same boxes in the fields that Gen1's label files have."""
    names = {"ts": "t", "confidence": "class_confidence"}
    converted = np.zeros(len(labels), OLDER)
    for name in converted.dtype.names:
        converted[name] = labels[names.get(name, name)]
    return converted


def gen1_labels():
    """A car at each time; besides, a pedestrian too small for the benchmark; one box too wide."""
    cars, people = make_labels(TIMES, 0), make_labels(TIMES[:3], 1)
    for name, value in (("x", 100), ("y", 90), ("w", 40), ("h", 30)):
        cars[name] = value
    people["w"], people["h"] = 9, 40
    cars["x"][3], cars["w"][3] = 2, 300
    return np.sort(np.concatenate([cars, people]), order="t")


@pytest.fixture(scope="module", params=[".dat.h5", ".dat"])
def gen1(request, tmp_path_factory):
    """A folder of recordings that do not say how large the sensor is."""
    root, events = tmp_path_factory.mktemp("gen1"), random_events(304, 240)
    for split in ("train", "val"):
        path = root / split / f"17-04-04_11-00-13_cut_15{'_td' + request.param}"
        write_dat(path, events, "% Data\n") if request.param == ".dat" else write_h5(path, events)
        np.save(root / split / "17-04-04_11-00-13_cut_15_bbox.npy", older(gen1_labels()))
    # One of those that end up without labels: nothing but boxes below the limits.
    people = gen1_labels()
    write_h5(root / "train/17-04-06_09-57-37_td.dat.h5", events)
    np.save(root / "train/17-04-06_09-57-37_bbox.npy", older(people[people["class_id"] == 1]))
    return root


def prepared(raw, out, class_map, *options):
    arguments = [str(raw), str(out), "--class-map", class_map, "--workers", "0", *options]
    assert main(arguments, "prepare-events") == 0
    return json.loads((out / layout.MANIFEST).read_text())


def test_gen1_keeps_its_resolution_and_all_its_boxes(gen1, tmp_path, capsys):
    manifest = prepared(gen1, tmp_path / "out", GEN1)
    assert manifest["settings"]["downsample"] == "none" and manifest["classes"][0] == "car"
    folder = RvtFolder(tmp_path / "out", GEN1, train_filter=as_published(GEN1).label_filter)
    (val,) = folder.recordings("val")
    assert val.shape == (20, 240, 304) and val.downsample == "none"
    assert val.frame_times_us.tolist() == TIMES.tolist()
    assert set(np.diff(val.timestamps_us)) == {STEP_US}
    assert [len(val.boxes(k)[0]) for k in range(8)] == [2, 2, 2, 1, 1, 1, 1, 1]
    assert val.boxes(0)[1].tolist() in ([0, 1], [1, 0]) and not val.left_out
    train = next(r for r in folder.recordings("train") if r.num_frames)
    assert train.left_out == {"boxes_too_small": 3, "boxes_too_wide": 1}
    assert TIMES[3] not in train.frame_times_us and train.num_frames == 7


def test_gen1_as_published_has_the_benchmarks_filter_in_all_splits(gen1, tmp_path, capsys):
    manifest = prepared(gen1, tmp_path / "out", GEN1, "--published")
    limits = manifest["settings"]["label_filter"]
    assert (limits["min_side"], limits["min_diagonal"]) == (10, 30)
    (val,) = RvtFolder(tmp_path / "out", GEN1).recordings("val")
    assert [len(val.boxes(k)[0]) for k in range(8)] == [1] * 8
    # The published script takes two steps between labels, whatever their rate.
    assert set(np.diff(val.timestamps_us[val.frame_steps[0] :])) == {125_000}
    reason = manifest["failed"]["train/17-04-06_09-57-37"]
    assert "no box is left of 3" in reason and "boxes_too_small 3" in reason
    assert "FAILED train/17-04-06_09-57-37" in capsys.readouterr().out


def test_of_1_mpx_three_of_seven_classes_stay(tmp_path, capsys):
    labels = make_labels(np.repeat(33_333 * np.arange(1, 40), 7))
    labels["class_id"] = np.arange(len(labels)) % 7
    labels["w"][labels["class_id"] == 0] = 4.5  # px of the sensor; 5 are published
    write_h5(tmp_path / "raw/test/moorea_td.h5", random_events(1280, 720), width=1280, height=720)
    np.save(tmp_path / "raw/test/moorea_bbox.npy", labels)
    manifest = prepared(tmp_path / "raw", tmp_path / "out", GEN4)
    dropped = manifest["totals"]["dropped_or_changed"]
    assert {name: dropped[f"boxes_of_raw_class_{name}"] for name in GEN4_RAW[3:]} == dict.fromkeys(
        GEN4_RAW[3:], 39
    )
    (test,) = RvtFolder(tmp_path / "out", GEN4, "nearest").recordings("test")
    assert test.shape == (20, 360, 640) and test.frame_times_us[0] == 4 * 33_333
    assert test.boxes(0)[1].tolist() == [0, 1, 2]
    assert manifest["classes"] == ["pedestrian", "two-wheeler", "car"]
    prepared(tmp_path / "raw", tmp_path / "pub", GEN4, "--published")
    (again,) = RvtFolder(tmp_path / "pub", GEN4).recordings("test")
    assert again.boxes(0)[1].tolist() == [1, 2]
    assert again.frame_times_us.tolist() == test.frame_times_us.tolist()


def test_the_data_check_knows_the_sensor_of_gen1(gen1):
    (val,) = look_into(gen1, GEN1).splits["val"]
    assert val.shape[1:] == (240, 304)
    assert val.num_frames == 8 and len(val.boxes(0)[0]) == 1


def test_raw_and_mapped_ids_of_both_sets_are_the_same():
    for name in (GEN1, GEN4, "etram_raw8"):
        assert get_class_map(name).keeps_ids
    assert not get_class_map("etram_cls8").keeps_ids
    assert len(get_class_map(GEN4).raw) == 7
