"""Recordings with labels in CSV or COCO files and classes of one's own, from raw to a data set."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from event_toys import HEIGHT, WIDTH, label_times, make_events, write_h5_recording

from eventcam.class_maps import get_class_map
from eventcam.dataset import EventRecordings
from eventcam.errors import EventDataError
from eventcam.io.bbox import NO_CLASS
from eventcam.io.label_files import class_names, read_labels
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.recording import Preparation
from eventcam.render.sources import open_footage

OWN = "person,bike=bicycle+scooter,=dog"
NAMES = ["person", "bicycle", "scooter", "dog"]
HEADER = ["t_us", "x", "y", "w", "h", "class", "track"]


def write_csv(path, rows, header=HEADER):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def rows_at(times, name="person", box=(10, 8, 20, 16)):
    return [[time, *box, name, "one"] for time in times]


def as_coco(rows, time="timestamp_us"):
    """The same boxes, an image for each time and one without boxes, ids out of order."""
    times = [*dict.fromkeys(row[0] for row in rows), 10**9]
    names = [*dict.fromkeys(row[5] for row in rows), "never seen"]
    images = [{"id": 100 - i, time: int(t), "file_name": f"{i}.png"} for i, t in enumerate(times)]
    ids = {one[time]: one["id"] for one in images}
    annotations = [
        {"image_id": ids[t], "bbox": box, "category_id": 7 + names.index(name), "track_id": track}
        for t, *box, name, track in rows
    ]
    categories = [{"id": 7 + i, "name": name} for i, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_raw(split, name, rows):
    write_h5_recording(split / f"{name}_td.h5", [make_events(3000)], WIDTH, HEIGHT)
    write_csv(split / f"{name}_bbox.csv", rows)


# The class map ------------------------------------------------------------------------------------


def test_own_classes_are_a_class_map():
    own = get_class_map(OWN)
    assert own.classes == ("person", "bike") and own.raw == tuple(NAMES)
    assert own.from_raw == {0: 0, 1: 1, 2: 1}
    for same in (own.name, OWN.split(","), OWN.replace(",", " , ")):
        assert get_class_map(same) == own
    assert get_class_map(["ball"]).classes == ("ball",) == get_class_map("ball=ball").classes


@pytest.mark.parametrize("text", ["a,a", "a=x,b=x", "=dog", "a,", "a=b=c", "a=x+", [], ""])
def test_a_class_map_that_says_nothing_is_refused(text):
    with pytest.raises(EventDataError, match="person,bike=bicycle"):
        get_class_map(text)


# The label file -----------------------------------------------------------------------------------


def test_a_csv_file_reads_back(tmp_path):
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 40, (50, 4)).astype(np.float32)
    times, kinds = np.sort(rng.integers(0, 10**6, 50)), rng.integers(0, 4, 50)
    rows = [
        [t, *map(str, box), NAMES[k], f"car {k}"]
        for t, box, k in zip(times, boxes, kinds, strict=True)
    ]
    labels, counts = read_labels(write_csv(tmp_path / "a_bbox.csv", rows), NAMES)
    assert not counts and labels["t"].tolist() == times.tolist()
    assert np.array_equal(np.stack([labels[name] for name in "xywh"], 1), boxes)
    assert labels["class_id"].tolist() == kinds.tolist() == labels["track_id"].tolist()


def test_column_order_spaces_and_a_byte_order_mark_do_not_matter(tmp_path):
    path = tmp_path / "a_bbox.csv"
    text = "class, h, w, y, x, t_us, note\nperson , 4, 3, 2, 1, 7.0, x\n"
    path.write_text(text, encoding="utf-8-sig")
    labels, counts = read_labels(path, NAMES)
    assert labels[["t", "x", "y", "w", "h", "class_id"]].tolist() == [(7, 1, 2, 3, 4, 0)]
    assert not counts and class_names(path) == ["person"]


def test_lines_that_cannot_be_used_are_counted(tmp_path):
    good = [500, 1, 2, 3, 4, "person"]
    bad = [
        ["noon", *good[1:]],
        [500, "1,5", *good[2:]],
        [500, 1, 2, "", 4, "person"],
        [500, 1, 2, "nan", 4, "person"],
        [500, 1, 2, "inf", 4, "person"],
        [*good[:5], ""],
        [500, 1],
        [-1, *good[1:]],
        [10**30, *good[1:]],
    ]
    labels, counts = read_labels(write_csv(tmp_path / "a_bbox.csv", [good, *bad]), NAMES)
    assert len(labels) == 1
    assert counts == {"boxes_unreadable": 7, "boxes_impossible_time": 2}


@pytest.mark.parametrize("content", [b"", b"t_us;x;y;w;h;class\n", b"\xff\xfe\x00", b"a,b\n1,2\n"])
def test_another_kind_of_file_is_a_sentence(tmp_path, content):
    path = tmp_path / "a_bbox.csv"
    path.write_bytes(content)
    with pytest.raises(EventDataError, match=r"a_bbox\.csv"):
        read_labels(path, NAMES)


def test_unknown_names_get_an_id_that_no_map_takes(tmp_path):
    path = write_csv(tmp_path / "a_bbox.csv", rows_at([1], "cat"))
    labels, _ = read_labels(path, NAMES)
    assert labels["class_id"].tolist() == [NO_CLASS]
    assert len(get_class_map(OWN).apply(labels)[0]) == 0


@pytest.mark.parametrize("time", ["timestamp_us", "t_us"])
def test_coco_labels_are_those_of_the_same_csv(tmp_path, time):
    rng = np.random.default_rng(1)
    rows = [
        [int(t), *map(float, rng.uniform(1, 40, 4).astype(np.float32)), NAMES[i % 5 % 4], i % 3]
        for i, t in enumerate(np.sort(rng.integers(0, 10**6, 50)))
    ]
    table = write_csv(tmp_path / "a_bbox.csv", rows)
    coco = write_coco(tmp_path / "b_bbox.json", as_coco(rows, time))
    (expected, _), (found, counts) = (read_labels(path, NAMES) for path in (table, coco))
    assert not counts and found.tolist() == expected.tolist()
    assert class_names(coco) == class_names(table) == sorted(NAMES)


def test_annotations_that_cannot_be_used_are_counted(tmp_path):
    good = as_coco(rows_at([500]))
    (one,) = good["annotations"]
    changes = [
        {"image_id": 1},
        {"image_id": [2]},
        {"image_id": 3},  # two images have it
        {"image_id": 4},  # at no time
        {"bbox": [1, 2, 3]},
        {"bbox": None},
        {"bbox": [1, 2, "wide", 4]},
        {"bbox": [1, 2, float("inf"), 4]},
        {"bbox": [1, 2, 10**400, 4]},
        {"bbox": [1, 2, True, 4]},
        {"bbox": {"0": 1, "1": 2, "2": 3, "3": 4}},
        {"bbox": "1234"},
        {"category_id": 70},
        {"category_id": None},
        {"category_id": 5},  # two classes have it
        {"category_id": 6},  # without a name
    ]
    good["annotations"] += [one | change for change in changes]
    good["categories"] += [{"id": 5, "name": x} for x in ("person", "dog")] + [{"id": 6}]
    good["images"] += [{"id": 3, "t_us": 500}, {"id": 3, "t_us": 600}, {"id": 4, "t_us": True}]
    labels, counts = read_labels(write_coco(tmp_path / "a_bbox.json", good), NAMES)
    assert len(labels) == 1 and counts == {"boxes_unreadable": len(changes)}


@pytest.mark.parametrize("depth", [50, 300, 900, 990])
@pytest.mark.parametrize("place", ["images", "annotations", "categories"])
def test_nested_values_are_counted_or_a_sentence(tmp_path, depth, place):
    good = as_coco(rows_at([500]))
    for key in good[place][0]:
        odd = good | {place: [good[place][0] | {key: "HERE"}]}
        (tmp_path / "a_bbox.json").write_text(
            json.dumps(odd).replace('"HERE"', "[" * depth + "]" * depth)
        )
        try:
            labels, counts = read_labels(tmp_path / "a_bbox.json", NAMES)
        except EventDataError as error:
            assert "a_bbox.json" in str(error) and len(str(error)) < 500
        else:
            assert len(labels) + sum(counts.values()) == 1


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("", "COCO labels"),
        ("{", "COCO labels"),
        ("[" * 10**5, "COCO labels"),
        (f"[{'9' * 5000}]", "COCO labels"),
        ("[]", "list of images"),
        ('{"images": [], "annotations": {}}', "list of annotations"),
        ('{"images": [], "annotations": [], "categories": [3]}', "list of categories"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "timestamp_us or t_us"),
    ],
)
def test_other_json_is_a_sentence(tmp_path, content, fact):
    path = tmp_path / "a_bbox.json"
    path.write_text(content)
    with pytest.raises(EventDataError, match=rf"a_bbox\.json.*{fact}"):
        read_labels(path, NAMES)


# The folder ---------------------------------------------------------------------------------------


def test_a_folder_of_recordings_becomes_a_data_set_with_its_own_classes(tmp_path):
    raw, out, times = tmp_path / "raw", tmp_path / "out", label_times(30)
    for split in ("train", "val", "test"):
        found = rows_at(times) + rows_at(times, "scooter", (30, 20, 12, 10)) + rows_at(times, "dog")
        write_raw(raw / split, "street", found)
    summary = prepare_all(raw, out, Preparation(OWN, "none"))
    assert len(summary.prepared) == 3
    assert summary.totals["boxes_per_class"]["bike"] > 0
    assert summary.totals["dropped_or_changed"]["boxes_of_raw_class_dog"] == 3 * len(times)
    dataset = EventRecordings(str(out), class_map=OWN.split(","), downsample="none")
    (recording,) = dataset.recordings("val")
    boxes, classes = recording.boxes(0)
    found = dict(zip(classes.tolist(), boxes.tolist(), strict=True))
    assert found == {0: [10, 8, 30, 24], 1: [30, 20, 42, 30]}
    assert dataset.metadata("val")["class_map"].classes == ("person", "bike")
    dataset.check({"model.head": 2}, images=0)
    with pytest.raises(EventDataError, match=r"model\.head\.num_classes=2"):
        dataset.check({"model.head": 8}, images=0)
    with pytest.raises(EventDataError, match="prepared with the class map"):
        EventRecordings(str(out), class_map="person,bike", downsample="none").recordings("val")
    footage = open_footage(raw / "val/street_td.h5")
    assert list(footage.class_names) == ["dog", "person", "scooter"]
    assert any(shot.truth is not None and len(shot.truth.boxes) == 3 for shot in footage.shots)


HOSTILE = {
    "misspelt": (rows_at(label_times(30), "bycicle"), ["'bycicle'", "bicycle meant"]),
    "elsewhere": (rows_at([100_000], box=(900, 900, 20, 20)), ["boxes_outside_frame 1"]),
    "in_seconds": (rows_at([0.1, 0.2, 0.3]), ["microseconds"]),
    "after_the_end": (rows_at([10**8]), ["events end before its labels"]),
    "empty": ([], ["no box is left of 0"]),
}


def test_each_bad_recording_fails_with_its_reason(tmp_path):
    for name, (rows, _) in HOSTILE.items():
        write_raw(tmp_path / "raw/train", name, rows)
    inside = rows_at(label_times(30))
    write_raw(tmp_path / "raw/train", "good", [*inside, *rows_at([10**8, 500_000], box=[-5] * 4)])
    summary = prepare_all(tmp_path / "raw", tmp_path / "out", Preparation(OWN))
    assert summary.prepared == ["train/good"]
    for name, (_, facts) in HOSTILE.items():
        assert all(fact in summary.failed[f"train/{name}"] for fact in facts), summary.failed
    assert summary.totals["dropped_or_changed"]["boxes_outside_frame"] == 2


def test_coco_labels_are_prepared_as_csv(tmp_path):
    rows = rows_at(label_times(30)) + rows_at(label_times(30), "scooter", (30, 20, 12, 10))
    write_raw(tmp_path / "raw/train", "table", rows)
    for name, content in (("coco", as_coco(rows)), ("odd", as_coco(rows_at([1], "bycicle")))):
        (tmp_path / f"raw/train/{name}_td.h5").write_bytes(
            (tmp_path / "raw/train/table_td.h5").read_bytes()
        )
        write_coco(tmp_path / f"raw/train/{name}_bbox.json", content)
    summary = prepare_all(tmp_path / "raw", tmp_path / "out", Preparation(OWN, "none"))
    assert "bicycle meant" in summary.failed["train/odd"]
    files = [tmp_path / "out/train" / name / "labels_v2/labels.npz" for name in ("table", "coco")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert any(s.truth for s in open_footage(tmp_path / "raw/train/coco_td.h5").shots)


def test_two_files_of_labels_are_one_too_many(tmp_path):
    write_raw(tmp_path / "train", "a", rows_at([100_000]))
    (tmp_path / "train/a_bbox.npy").touch()
    with pytest.raises(EventDataError, match=r"a_bbox\.csv.*a_bbox\.npy"):
        prepare_all(tmp_path, tmp_path / "out", Preparation(OWN))
