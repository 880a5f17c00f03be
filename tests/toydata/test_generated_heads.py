"""The painted data set: deterministic, consistent, in the habits of real exports; made once."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smalldet.data.splits import CocoSplits
from toydata.folder import MARKER_NAME, GeneratedDataError
from toydata.heads import GeneratedHeads
from toydata.heads.images import CATEGORIES, paint_scene, write_split
from toydata.heads.painting import Canvas

SMALL = GeneratedHeads(seed=3, image_size=(96, 128), train=4, valid=2, test=1)


def all_files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def test_equal_parameters_give_equal_files_and_others_do_not(tmp_path: Path) -> None:
    for name in ("a", "b"):
        SMALL.ensure(tmp_path / name)
    write_split(tmp_path / "c" / "train", 4, "train", 4, (96, 128))
    first = all_files(tmp_path / "a")
    assert first == all_files(tmp_path / "b")
    other = all_files(tmp_path / "c")
    assert not {path for path, data in other.items() if data == first.get(path)}


@pytest.mark.parametrize("size", [(160, 160), (200, 336)])
def test_boxes_lie_inside_and_sizes_vary(size: tuple[int, int]) -> None:
    scenes = [paint_scene(np.random.default_rng([1, n]), *size) for n in range(30)]
    boxes = np.concatenate([scene.boxes for scene in scenes])
    ends = boxes[:, :2] + boxes[:, 2:]
    assert boxes[:, :2].min() >= 0
    assert (ends <= [size[1], size[0]]).all()
    sides = np.sqrt(boxes[:, 2] * boxes[:, 3])
    assert boxes[:, 2:].min() >= 4
    assert sides.min() < 16 < 40 < sides.max()
    counts = [len(scene.boxes) for scene in scenes]
    assert 1 <= counts.count(0) <= 10 and max(counts) >= 10
    assert all(scene.picture.shape == (*size, 3) and scene.picture.std() > 10 for scene in scenes)


def test_what_hides_a_head_takes_its_pixels() -> None:
    canvas = Canvas(20, 20)
    canvas.ellipse(np.array([10.0, 10.0]), (6, 6), (200, 150, 100), label=1)
    before = np.count_nonzero(canvas.labels == 1)
    canvas.rectangle(0, 0, 10, 20, (0, 0, 0))
    after = np.count_nonzero(canvas.labels == 1)
    assert 0.35 * before < after < 0.6 * before
    assert abs(before - np.pi * 36) < 20


def test_files_look_like_an_export_and_pass_the_filter(tmp_path: Path) -> None:
    root = tmp_path / "painted"
    generate = GeneratedHeads(seed=0, image_size=96, train=12, valid=2, test=2)
    dataset = CocoSplits(str(root), generate=generate)
    assert sum(len(record["annotations"]) for record in dataset.records("train")) > 10
    for split in ("train", "valid", "test"):
        report = dataset.report(split)
        assert report.counts == {}
        assert report.images == getattr(generate, split)
    source = json.loads((root / "train" / "_annotations.coco.json").read_text())
    assert source["categories"] == list(CATEGORIES)
    assert {entry["category_id"] for entry in source["annotations"]} == {1}
    assert source["annotations"][0]["id"] == source["images"][0]["id"] == 0
    formats = {Image.open(root / "train" / e["file_name"]).format for e in source["images"]}
    assert formats == {"PNG", "JPEG"}


def test_a_second_use_changes_nothing_and_an_interrupted_one_is_finished(tmp_path: Path) -> None:
    root = tmp_path / "painted"
    SMALL.ensure(root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")}
    SMALL.ensure(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")} == before
    complete = all_files(root)
    marker = json.loads((root / MARKER_NAME).read_text())
    (root / MARKER_NAME).write_text(json.dumps({**marker, "complete": False}))
    next(root.rglob("*.jpg")).unlink()
    (root / ".partial-test").mkdir()
    SMALL.ensure(root)
    assert all_files(root) == complete
    assert not (root / ".partial-test").exists()


def test_other_parameters_and_other_data_are_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "painted"
    SMALL.ensure(root)
    with pytest.raises(GeneratedDataError, match=r"other parameters .*'train': 4"):
        GeneratedHeads(seed=3, image_size=(96, 128), train=5).ensure(root)
    mine = tmp_path / "mine"
    (mine / "train").mkdir(parents=True)
    with pytest.raises(GeneratedDataError, match=r"was not generated \(train\)"):
        CocoSplits(str(mine), generate=GeneratedHeads(train=4)).records("train")
    assert [path.name for path in mine.iterdir()] == ["train"]
    (root / MARKER_NAME).write_text("{")
    with pytest.raises(GeneratedDataError, match=r"generated.json is not JSON"):
        SMALL.ensure(root)


def test_several_processes_may_start_together(tmp_path: Path) -> None:
    root = tmp_path / "new" / "painted"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=SMALL.ensure, args=(root,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    SMALL.ensure(tmp_path / "alone")
    assert all_files(root) == all_files(tmp_path / "alone")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"valid": 0}, "at least 1 image"),
        ({"image_size": 16}, "at least 64 px"),
        ({"seed": -1}, "seed of at least 0"),
    ],
)
def test_wrong_parameters_are_sentences(values: dict[str, int], message: str) -> None:
    with pytest.raises(GeneratedDataError, match=message):
        GeneratedHeads(**values)
