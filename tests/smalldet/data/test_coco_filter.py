"""filter_coco on sound and on hostile annotation files."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from coco_folders import CATEGORIES, box, coco, image

from smalldet.data.errors import DataError
from smalldet.data.filter.annotations import filter_coco
from smalldet.data.filter.report import FINDINGS, FilterReport, report_table

ONE = [image(7)]
SIZES = {"7.png": (40, 30)}
GOOD = [2, 3, 10, 12]


def run(
    images: list[Any], boxes: list[Any], sizes: dict | None = None
) -> tuple[dict, FilterReport]:
    return filter_coco(coco(images, boxes), ["head"], SIZES if sizes is None else sizes)


def test_a_sound_file_keeps_everything_and_gets_contiguous_ids() -> None:
    images = [image(20), image(4)]
    boxes = [box(9, 20, GOOD), box(5, 4, [0, 0, 40, 30]), box(0, 4, [1, 1, 2, 2])]
    source = coco(images, boxes)
    before = copy.deepcopy(source)
    sizes = {"20.png": (40, 30), "4.png": (40, 30)}
    filtered, report = filter_coco(source, ["head"], sizes)
    assert source == before
    assert [entry["id"] for entry in filtered["images"]] == [1, 2]
    assert [entry["source_id"] for entry in filtered["images"]] == [20, 4]
    assert [entry["id"] for entry in filtered["annotations"]] == [1, 2, 3]
    assert [entry["image_id"] for entry in filtered["annotations"]] == [1, 2, 2]
    assert filtered["categories"] == [{"id": 1, "name": "head", "supercategory": "none"}]
    assert (report.images, report.negatives, report.boxes, report.counts) == (2, 0, 3, {})
    assert report.source_classes == {"heads-detection": 0, "head": 3}


@pytest.mark.parametrize(
    ("bbox", "finding", "kept"),
    [
        ([-5, -5, 20, 20], "boxes_clipped", [0, 0, 15, 15]),
        ([30, 20, 100, 100], "boxes_clipped", [30, 20, 10, 10]),
        ([50, 5, 10, 10], "boxes_outside", None),
        ([-10, 5, 10, 10], "boxes_outside", None),
        ([5, 5, 0, 10], "boxes_without_area", None),
        ([5, 5, 10, -3], "boxes_without_area", None),
        ([float("nan"), 5, 10, 10], "boxes_non_finite", None),
        ([5, 5, float("inf"), 10], "boxes_non_finite", None),
        ([5, 5, 10], "boxes_malformed", None),
        ([5, 5, 10, 10, 1], "boxes_malformed", None),
        ([5, 5, "wide", 10], "boxes_malformed", None),
        (["5", "5", "10", "10"], "boxes_as_text", [5, 5, 10, 10]),
        ("1234", "boxes_malformed", None),
        ({"1": 0, "2": 0, "3": 0, "4": 0}, "boxes_malformed", None),
        ([True, 5, 10, 10], "boxes_malformed", None),
        ([[5], 5, 10, 10], "boxes_malformed", None),
        ([5, 5, 10**400, 10], "boxes_non_finite", None),
        ([-(10**400), 5, 10, 10], "boxes_non_finite", None),
        ([5, 5, "nan", 10], "boxes_non_finite", None),
        ([30, 20, 10.0001, 10], None, [30, 20, 10, 10]),  # rounding is clipped without noise
        ([], "boxes_malformed", None),
        (None, "boxes_malformed", None),
        (3, "boxes_malformed", None),
    ],
)
def test_boxes(bbox: Any, finding: str | None, kept: list[float] | None) -> None:
    filtered, report = run(ONE, [box(1, 7, bbox), box(2, 7, [1, 1, 2, 2])])
    assert report.counts.get(finding) == 1 if finding else report.counts == {}
    boxes = [entry["bbox"] for entry in filtered["annotations"]]
    assert boxes == ([kept] if kept else []) + [[1, 1, 2, 2]]
    for entry in filtered["annotations"]:
        assert entry["area"] == pytest.approx(entry["bbox"][2] * entry["bbox"][3])
    json.dumps(filtered, allow_nan=False)


@pytest.mark.parametrize(
    ("entry", "finding"),
    [
        (box(2, 99, GOOD), "annotations_of_unknown_images"),
        (box(2, None, GOOD), "annotations_of_unknown_images"),
        (box(2, 7, GOOD, category_id=5), "annotations_of_unknown_categories"),
        (box(2, 7, GOOD, category_id=[1]), "annotations_of_unknown_categories"),
        (box(2, 7, GOOD, category_id=True), "annotations_of_unknown_categories"),
        (box(2, True, GOOD), "annotations_of_unknown_images"),
        (box(2, 10**400, GOOD), "annotations_of_unknown_images"),
        (box(2, 7, GOOD, category_id=0), "boxes_of_other_classes"),
        (box(2, 7, [1, 1, 2, 2]), "boxes_repeated"),
        ("nonsense", "annotations_malformed"),
    ],
)
def test_unusable_annotations_are_dropped_and_counted(entry: Any, finding: str) -> None:
    filtered, report = run(ONE, [box(1, 7, [1, 1, 2, 2]), entry])
    assert len(filtered["annotations"]) == 1
    assert report.counts == {finding: 1}


@pytest.mark.parametrize(
    ("first", "second", "expected", "count", "finding"),
    [
        ({"number": 2}, {}, {"id": [1, 2]}, 1, "annotation_ids_repeated"),
        ({"iscrowd": 1}, {"ignore": 1}, {"iscrowd": [1, 1]}, 2, "crowd_flags"),
        ({"area": 60}, {"area": None}, {"area": [120, 25]}, 2, "areas_replaced"),
        ({"area": 10**400}, {"area": True}, {"area": [120, 25]}, 2, "areas_replaced"),
        ({"iscrowd": "0"}, {"ignore": " false"}, {"iscrowd": [0, 0]}, 2, "flags_as_text"),
        ({"iscrowd": None}, {"ignore": 1.0}, {"iscrowd": [0, 1]}, 1, "crowd_flags"),
    ],
)
def test_boxes_are_kept_with_what_is_odd_put_right(
    first: dict, second: dict, expected: dict, count: int, finding: str
) -> None:
    number = first.pop("number", 1)
    filtered, report = run(ONE, [box(number, 7, GOOD, **first), box(2, 7, [0, 0, 5, 5], **second)])
    for key, values in expected.items():
        assert [entry[key] for entry in filtered["annotations"]] == values
    assert report.counts == {finding: count}
    learned = [not entry["iscrowd"] for entry in filtered["annotations"]]
    assert report.negatives == (not any(learned))


def test_a_flag_written_as_text_is_what_it_says() -> None:
    filtered, report = run(ONE, [box(1, 7, GOOD, iscrowd="1"), box(2, 7, [0, 0, 5, 5])])
    assert [entry["iscrowd"] for entry in filtered["annotations"]] == [1, 0]
    assert report.counts == {"flags_as_text": 1, "crowd_flags": 1}


@pytest.mark.parametrize(
    ("entries", "sizes", "finding"),
    [
        ([image(8, "gone.png")], {}, "images_without_file"),
        ([image(8, "../7.png")], {}, "images_without_file"),
        ([image(8, "text.png")], {"text.png": "images_unreadable"}, "images_unreadable"),
        ([image(8, "half.png")], {"half.png": "images_cut_short"}, "images_cut_short"),
        ([image(8, "big.png", (10**400, 30))], {"big.png": (40, 30)}, "images_of_other_size"),
        ([image(8, "big.png")], {"big.png": (80, 60)}, "images_of_other_size"),
        ([image(8, "turned.png")], {"turned.png": (30, 40)}, "images_of_other_size"),
        ([{"file_name": "x.png"}], {}, "images_malformed"),
        ([{"id": 8}], {}, "images_malformed"),
        ([image(True, "x.png")], {}, "images_malformed"),
        ([None], {}, "images_malformed"),
        ([], {"stray.png": (40, 30)}, "files_without_entry"),
    ],
)
def test_unusable_images_are_left_out_with_their_boxes(
    entries: list[Any], sizes: dict[str, Any], finding: str
) -> None:
    boxes = [box(1, 7, GOOD), box(2, 8, GOOD)]
    filtered, report = run(
        ONE + entries, boxes[: 1 + (finding.startswith("images_w"))], {**SIZES, **sizes}
    )
    assert [entry["file_name"] for entry in filtered["images"]] == ["7.png"]
    assert report.counts[finding] == 1
    assert len(filtered["annotations"]) == 1


def test_a_missing_size_is_taken_from_the_file() -> None:
    filtered, report = run([{"id": 7, "file_name": "7.png", "width": 0}], [])
    assert (filtered["images"][0]["width"], filtered["images"][0]["height"]) == (40, 30)
    assert report.counts == {"sizes_filled": 1}


def test_two_files_with_one_id_are_both_left_out() -> None:
    sizes = {**SIZES, "a.png": (40, 30), "b.png": (40, 30)}
    images = [*ONE, image(3, "a.png"), image(3, "b.png")]
    filtered, report = run(images, [box(1, 3, GOOD), box(2, 7, GOOD)], sizes)
    assert [entry["file_name"] for entry in filtered["images"]] == ["7.png"]
    assert report.counts == {"images_with_shared_id": 2, "annotations_of_left_out_images": 1}


def test_one_file_listed_twice_is_merged() -> None:
    boxes = [box(1, 7, GOOD), box(2, 8, [0, 0, 5, 5]), box(3, 8, GOOD)]
    filtered, report = run([*ONE, image(8, "7.png"), image(7)], boxes)
    assert len(filtered["images"]) == 1
    assert {entry["image_id"] for entry in filtered["annotations"]} == {1}
    assert report.counts == {"images_repeated": 2, "boxes_repeated": 1}


def test_names_with_spaces_and_accents_match_whatever_their_unicode_form() -> None:
    composed, decomposed = "caf\u00e9 (1) 頭.png", "cafe\u0301 (1) 頭.png"
    filtered, report = run([image(1, composed)], [box(1, 1, GOOD)], {decomposed: (40, 30)})
    assert filtered["images"][0]["file_name"] == decomposed
    assert report.counts == {}


def test_only_negatives_is_allowed_and_no_image_is_an_error() -> None:
    filtered, report = run(ONE, [])
    assert (filtered["annotations"], report.negatives) == ([], 1)
    with pytest.raises(
        DataError, match=r"(?s)None of the 1 image entries can be used.*without a file"
    ):
        run([image(1, "gone.png")], [])
    with pytest.raises(DataError, match="None of the 0 image entries"):
        run([], [])


@pytest.mark.parametrize("wanted", [["Head"], ["head", "helmet"], [], ["head", "head"]])
def test_a_wrong_class_is_a_sentence_that_lists_the_classes(wanted: list[str]) -> None:
    with pytest.raises(DataError, match="lists 'heads-detection', 'head'"):
        filter_coco(coco(ONE, []), wanted, SIZES)


def test_wanted_classes_number_the_categories_and_equal_names_are_one() -> None:
    categories = [*CATEGORIES, {"id": 5, "name": "hat"}, {"id": 6, "name": "head"}]
    boxes = [box(1, 7, GOOD, 5), box(2, 7, [0, 0, 5, 5], 6), box(3, 7, [9, 9, 5, 5], 1)]
    source = {"categories": categories, "images": ONE, "annotations": boxes}
    filtered, _ = filter_coco(source, ["hat", "head"], SIZES)
    assert [entry["category_id"] for entry in filtered["annotations"]] == [1, 2, 2]


MASKS = ["with_mask", "without_mask", "head", "hat"]


def masks(boxes: list[Any]) -> dict[str, Any]:
    categories = [{"id": number, "name": name} for number, name in enumerate(MASKS)]
    return {"categories": categories, "images": ONE, "annotations": boxes}


def test_merged_classes_become_one_with_that_of_its_own_name_and_are_counted() -> None:
    boxes = [box(n, 7, [n, n, 5, 5], n) for n in range(4)]
    boxes.append(box(9, 7, [0, 0, 5, 5], 1))  # the same place under another name: one object
    merge = {"head": ["without_mask", "with_mask"]}
    filtered, report = filter_coco(masks(boxes), ["hat", "head"], SIZES, merge)
    assert [entry["name"] for entry in filtered["categories"]] == ["hat", "head"]
    assert [entry["category_id"] for entry in filtered["annotations"]] == [2, 2, 2, 1]
    assert report.counts == {"boxes_merged": 2, "boxes_repeated": 1}
    assert report.examples["boxes_merged"] == ["with_mask to head", "without_mask to head"]
    assert report.source_classes == {"with_mask": 1, "without_mask": 2, "head": 1, "hat": 1}
    renamed, _ = filter_coco(masks(boxes), ["cap"], SIZES, {"cap": ["hat"]})
    assert [entry["bbox"] for entry in renamed["annotations"]] == [[3, 3, 5, 5]]


@pytest.mark.parametrize(
    ("wanted", "merge", "message"),
    [
        (["head"], {"head": ["withmask"]}, "'withmask' is not there. Did you mean 'with_mask'"),
        (["face"], {"face": ["face", "hat"]}, "'face' is not there"),
        (["heads"], {}, "Did you mean 'head'"),
        (["head"], {"haed": ["hat"]}, r"not one of dataset.classes \(head\). Did you mean 'head'"),
        (["a", "b"], {"a": ["hat"], "b": ["hat"]}, "'hat' becomes 2 classes"),
        (["head", "hat"], {"head": ["hat"]}, "'hat' becomes 2 classes"),
    ],
)
def test_a_merge_that_does_not_fit_is_a_sentence(wanted: Any, merge: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        filter_coco(masks([]), wanted, SIZES, merge)


@pytest.mark.parametrize("content", [[], None, {"images": []}, {"images": {}, "annotations": []}])
def test_other_json_is_a_sentence(content: Any) -> None:
    with pytest.raises(DataError, match="no COCO annotation file"):
        filter_coco(content, ["head"], {})


def test_the_report_survives_json_and_reads_well() -> None:
    _, report = run([*ONE, image(8, "gone.png")], [box(n, 7, [50, 0, 5, 5 + n]) for n in range(9)])
    assert FilterReport(**json.loads(json.dumps(vars(report)))) == report
    text = report.summary("train")
    assert "1 images kept" in text
    assert "9 boxes wholly outside their image: dropped (annotation 0 of 7.png" in text
    assert len(text.splitlines()) == 3
    table = report_table({"train": report, "valid": FilterReport()})
    assert [line.split() for line in table.splitlines()][-1] == ["boxes", "outside", "9", "0"]
    assert set(report.counts) <= set(FINDINGS)
    with pytest.raises(KeyError):
        report.note("typo", "")
