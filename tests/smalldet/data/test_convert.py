"""YOLO and Pascal VOC folders, written here by hand, become data sets with the same boxes."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

import numpy as np
import pytest
from PIL import Image

from smalldet.data import CocoSplits, DataError
from smalldet.data.convert.writing import convert

pytest.importorskip("globox")

NAMES = ["person", "bike & rider"]
SPLITS = {"train": "train", "val": "valid", "test": "test"}
WIDTH, HEIGHT = 60, 40


def boxes_of(seed):
    """Left, top, width, height (px, whole numbers) and class of a few objects."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, [30, 20], (4, 2))
    sizes = rng.integers(3, 20, (4, 2))
    return [
        (*map(int, (*corner, *size)), int(kind))
        for corner, size, kind in zip(corners, sizes, rng.integers(0, 2, 4), strict=True)
    ]


def paint(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def yolo_line(left, top, width, height, kind):
    shares = (left + width / 2) / WIDTH, (top + height / 2) / HEIGHT, width / WIDTH, height / HEIGHT
    return " ".join([str(kind), *(f"{share:.9f}" for share in shares)])


def write_yolo(root, turned=False):
    root.mkdir()
    (root / "data.yaml").write_text(f"names: {json.dumps(NAMES)}\nnc: 2\n")
    for number, split in enumerate(SPLITS):
        parts = (split, "{}") if turned else ("{}", split)
        folder = "/".join(parts)
        for seed in (2 * number, 2 * number + 1):
            paint(root / folder.format("images") / f"{seed}.png", seed)
            label = root / folder.format("labels") / f"{seed}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("\n".join(yolo_line(*box) for box in boxes_of(seed)) + "\n")
    return root


def voc_xml(seed, size=(WIDTH, HEIGHT), difficult=0):
    objects = [
        f"<object><name>{escape(NAMES[kind])}</name><difficult>{difficult}</difficult><bndbox>"
        f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
        "</bndbox></object>"
        for x, y, w, h, kind in boxes_of(seed)
    ]
    return (
        f"<annotation><filename>{seed}.png</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height><depth>3</depth></size>{''.join(objects)}</annotation>"
    )


def write_voc(root):
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for number, split in enumerate(SPLITS):
        seeds = (2 * number, 2 * number + 1)
        lines = [f"{seed}  1\n" for seed in seeds]
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(lines))
        for seed in seeds:
            paint(root / "JPEGImages" / f"{seed}.png", seed)
            (root / f"Annotations/{seed}.xml").write_text(voc_xml(seed))
    return root


def read_back(folder):
    """By image: rows of left, top, width, height and class name."""
    content = json.loads((folder / "_annotations.coco.json").read_text())
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    files = {entry["id"]: entry["file_name"] for entry in content["images"]}
    found = {name: [] for name in files.values()}
    for entry in content["annotations"]:
        found[files[entry["image_id"]]].append((*entry["bbox"], names[entry["category_id"]]))
    return found


WRITERS = {
    "yolo": write_yolo,
    "yolo, turned round": lambda root: write_yolo(root, turned=True),
    "voc": write_voc,
}


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("kind", WRITERS)
def test_boxes_and_images_stay_what_they_are(tmp_path, kind, link):
    source, target = WRITERS[kind](tmp_path / "source"), tmp_path / "target"
    before = {path: path.read_bytes() for path in source.rglob("*.*")}
    report = convert(source, target, link)
    assert {path: path.read_bytes() for path in source.rglob("*.*")} == before
    assert sorted(path.name for path in target.iterdir()) == ["test", "train", "valid"]
    for number, split in enumerate(SPLITS.values()):
        found = read_back(target / split)
        assert sorted(found) == [f"{2 * number}.png", f"{2 * number + 1}.png"]
        for name, boxes in found.items():
            wanted = boxes_of(int(name.removesuffix(".png")))
            assert np.allclose([box[:4] for box in boxes], [box[:4] for box in wanted], atol=1e-5)
            assert [box[4] for box in boxes] == [NAMES[box[4]] for box in wanted]
            (original,) = source.rglob(name)
            path = target / split / name
            assert path.read_bytes() == original.read_bytes()
            assert path.samefile(original) == link
    assert "such as" not in report and "There is no" not in report


def test_the_result_is_a_data_set_to_train_on(tmp_path):
    convert(write_yolo(tmp_path / "source"), tmp_path / "target")
    dataset = CocoSplits(str(tmp_path / "target"), tuple(NAMES))
    dataset.check({"model.head": 2}, images=2)
    assert [len(dataset.records(split)) for split in dataset.splits] == [2, 2, 2]


def test_what_is_there_is_never_replaced(tmp_path):
    source, target = write_yolo(tmp_path / "source"), tmp_path / "target"
    target.mkdir()
    convert(source, target)
    with pytest.raises(DataError, match="is there already"):
        convert(source, target)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is there already"):
        convert(source, tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "source", "target"]


def test_everything_that_cannot_be_used_in_yolo_is_counted(tmp_path):
    source = write_yolo(tmp_path / "source")
    good = yolo_line(*boxes_of(0)[0])
    labels = source / "labels/train"
    bad = ["0 0.5 0.5", "one 0.5 0.5 0.1 0.1", "0 nan 0.5 0.1 0.1", "0 0.5 0.5 -0.1 0.1"]
    bad += ["0 0.5 0.5 0 0.1", "0.5 0.5 0.5 0.1 0.1", "0 0.1 0.1 0.2 0.1 x 0.3"]
    seg = "1 0.1 0.2 0.4 0.2 0.4 0.6"
    lines = [good, "", *bad, seg, f"{good} 0.9", "7 0.5 0.5 0.1 0.1", "-1 0.5 0.5 0.1 0.1"]
    (labels / "0.txt").write_text("\n".join(lines))
    (labels / "1.txt").write_text("")
    (labels / "ghost.txt").write_text(good)
    paint(source / "images/train/unlabelled.png")
    paint(source / "images/train/deep/er.png")
    (labels / "deep").mkdir()
    (labels / "deep/er.txt").write_text(good)
    (source / "images/train/broken.jpg").write_bytes(b"noise")
    paint(source / "images/train/binary.png")
    (labels / "binary.txt").write_bytes(b"\xff\xfe")
    report = convert(source, tmp_path / "target")
    for fact in (
        f"{len(bad)} lines that are no box (left out), such as {labels / '0.txt'}:3",
        "1 boxes of class 7",
        "1 boxes of class -1",
        "1 label files without an image (left out), such as",
        "1 images without a label file",
        "1 label files that are no text",
        "1 files that are no readable image",
    ):
        assert f"train: {fact}" in report
    found = read_back(tmp_path / "target/train")
    assert sorted(found) == ["0.png", "1.png", "binary.png", "deep/er.png", "unlabelled.png"]
    assert found["1.png"] == found["unlabelled.png"] == [] and len(found["deep/er.png"]) == 1
    wanted = [boxes_of(0)[0][:4], (6, 8, 18, 16), boxes_of(0)[0][:4]]
    assert np.allclose([box[:4] for box in found["0.png"]], wanted, atol=1e-5)


def test_everything_that_cannot_be_used_in_voc_is_counted(tmp_path):
    source = write_voc(tmp_path / "source")
    listed = ["0", "1", "0", "ghost", "bare", "cut", "squeezed", "empty", "odd", "hard"]
    (source / "ImageSets/Main/train.txt").write_text("\n".join(listed))
    for name in listed[4:]:
        paint(source / f"JPEGImages/{name}.png")
    xml = {
        "cut": voc_xml(0)[:-5],
        "squeezed": voc_xml(0, (30, 20)),
        "empty": "<annotation></annotation>",
        "odd": "<annotation><object><name>person</name></object></annotation>",
        "hard": voc_xml(0, (0, 0), difficult=1),
    }
    for name, text in xml.items():
        (source / f"Annotations/{name}.xml").write_text(text)
    report = convert(source, tmp_path / "target")
    for fact in (
        "1 listed names without an image (left out), such as ghost",
        "1 images without a file of annotations",
        "1 images without a readable file of annotations",
        "1 images of another size than their annotations",
        "1 objects without a box",
        "4 difficult objects",
    ):
        assert f"train: {fact}" in report
    found = read_back(tmp_path / "target/train")
    assert sorted(found) == ["0.png", "1.png", "empty.png", "hard.png", "odd.png"]
    content = json.loads((tmp_path / "target/train/_annotations.coco.json").read_text())
    assert sum(entry.get("ignore", 0) for entry in content["annotations"]) == 4


def test_folders_that_are_no_data_set_are_sentences(tmp_path):
    with pytest.raises(DataError, match="neither YOLO's layout"):
        convert(tmp_path, tmp_path / "target")
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(DataError, match=r"lists no image.*Expected are train\.txt"):
        convert(tmp_path, tmp_path / "target")
    source = write_yolo(tmp_path / "source")
    for text in ("nc: 2", "names: car", "names: [a, a]", "names: {1: a}", "names: [", "- 1"):
        (source / "data.yaml").write_text(text)
        with pytest.raises(DataError, match="names"):
            convert(source, tmp_path / "target")
    (source / "data.yaml").write_text("names: {0: a, 1: b}")
    (source / "val/images").mkdir(parents=True)
    with pytest.raises(DataError, match="images/val and val/images"):
        convert(source, tmp_path / "target")
    (source / "val/images").rmdir()
    for path in source.rglob("*.txt"):
        path.write_text("")
    with pytest.raises(DataError, match="No box was found"):
        convert(source, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_missing_split_is_said(tmp_path):
    source = write_yolo(tmp_path / "source")
    (source / "images/test").rename(source / "images/unused")
    assert "There is no test" in convert(source, tmp_path / "target")
