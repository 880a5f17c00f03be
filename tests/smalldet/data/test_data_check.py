"""The look at a data set before training: sizes of boxes, shared images, advice."""

from __future__ import annotations

import io
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_folders import write_data_set, write_image
from detectron2.structures import BoxMode
from PIL import Image

from labbook.config.load import load_config, to_plain
from smalldet.data.check import leakage
from smalldet.data.check.advice import anchor_advice, config_advice, overrides, size_advice
from smalldet.data.check.leakage import BITS, NEAR, difference_hash, fingerprints, leaks_between
from smalldet.data.check.report import data_check
from smalldet.data.check.shapes import BoxShapes, box_shapes, shapes_table
from smalldet.data.splits import CocoSplits

ROOT = Path(__file__).resolve().parents[3]
BASELINE = ROOT / "configs/ofat/baseline_lr0.001_bs8_adamw_ep100.py"
ANCHORS = "model.proposal_generator.anchor_generator"


def record(*boxes: Any, size: tuple[int, int] = (400, 200), crowd: int = 0) -> dict[str, Any]:
    """An image of (width, height) with boxes xywh_abs."""
    mode = BoxMode.XYWH_ABS
    annotations = [{"bbox": list(b), "bbox_mode": mode, "iscrowd": crowd} for b in boxes]
    return {"width": size[0], "height": size[1], "annotations": annotations}


def of_sides(*sides: float, ratio: float = 1.0) -> BoxShapes:
    return BoxShapes(np.array(sides), np.full(len(sides), ratio), np.ones(len(sides), dtype=int))


def test_boxes_are_measured_as_the_network_sees_them() -> None:
    records = [
        record((0, 0, 20, 20), (5, 5, 40, 10)),
        record(),
        record((0, 0, 9, 9), crowd=1),
        record((0, 0, 8, 8), size=(100, 100)),
    ]
    shapes = box_shapes(records, 100)  # a quarter of the width, half of the height
    assert shapes.per_image.tolist() == [2, 0, 0, 1]
    assert shapes.sides == pytest.approx([(5 * 10) ** 0.5, (10 * 5) ** 0.5, 8])
    assert shapes.ratios == pytest.approx([2, 0.5, 1])
    assert shapes.smaller_than(8) == pytest.approx(2 / 3)  # equal is not smaller
    fitted = box_shapes(records, 100, keep_aspect=True)  # a quarter of both sides
    assert fitted.sides == pytest.approx([5, (10 * 2.5) ** 0.5, 8])
    assert fitted.ratios == pytest.approx([1, 0.25, 1])
    doubled = box_shapes(records, 200)
    assert doubled.sides == pytest.approx(2 * shapes.sides)
    assert doubled.ratios == pytest.approx(shapes.ratios)


def in_columns(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_the_table_has_the_splits_side_by_side_and_nothing_is_no_error() -> None:
    table = shapes_table({"train": of_sides(2, 6, 40), "valid": box_shapes([], 64)}, 4, 32)
    rows = {name.strip(): cells for name, *cells in map(in_columns, table.splitlines())}
    assert in_columns(table.splitlines()[0])[-2:] == ["train", "valid"]
    assert rows["boxes"] == ["3", "0"]
    assert rows["below the finest stride, 4 px"] == ["33.3%", "0.0%"]
    assert rows["below the smallest anchor, 32 px"] == ["66.7%", "0.0%"]
    assert rows["side, px: 50%"] == ["6", "-"] and rows["most in an image"] == ["1", "-"]


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Four smooth pictures, as photographs are and noise is not."""
    for seed in range(4):
        coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"{seed}.png")
    return sorted(map(str, tmp_path.glob("*.png")))


def copies(file: str, folder: Path) -> dict[str, str]:
    """The same picture in other files."""
    picture = Image.open(file)
    changed = {
        "same.png": picture,
        "poor.jpg": picture,
        "small.png": picture.resize((100, 75)),
        "cropped.png": picture.crop((6, 4, 316, 236)),
        "grey.png": picture.convert("L"),
        "dark.png": picture.point(lambda value: value // 2),
    }
    folder.mkdir()
    for name, version in changed.items():
        version.save(folder / name, quality=30)
    (folder / "same.png").write_bytes(Path(file).read_bytes())
    return {name: str(folder / name) for name in changed}


def test_copies_are_found_whatever_was_done_to_them(
    photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = copies(photos[2], tmp_path / "test")
    train, test = fingerprints(photos[:3]), fingerprints([*found.values(), photos[3]])
    leaks = leaks_between(train, test)
    assert [(leak.file, leak.other) for leak in leaks] == [(f, photos[2]) for f in found.values()]
    assert [leak.file for leak in leaks if leak.bits is None] == [found["same.png"]]
    monkeypatch.setattr(leakage, "_CHUNK", 1)
    assert leaks_between(train, test) == leaks
    monkeypatch.undo()
    oracle = [[int(np.sum(a != b)) for b in train.hashes] for a in test.hashes]
    assert [min(row) for row in oracle][1:-1] == [leak.bits for leak in leaks][1:]
    assert NEAR < min(oracle[-1]) < BITS / 2, "another picture, and not by a hair"


def test_no_images_leak_nothing(photos: list[str]) -> None:
    none, some = fingerprints([]), fingerprints(photos)
    assert leaks_between(none, some) == leaks_between(some, none) == []


def test_the_hash_is_of_the_picture_as_shown() -> None:
    ramp = np.tile(np.arange(0, 240, 3, dtype=np.uint8), (80, 1))  # brighter to the right only

    def encoded(pixels: np.ndarray, orientation: int) -> bytes:
        exif, file = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(file, "PNG", exif=exif)
        return file.getvalue()

    plain = difference_hash(encoded(ramp, 1))
    assert plain.tolist() == [1] * (BITS // 2) + [-1] * (BITS // 2)
    assert (difference_hash(encoded(np.rot90(ramp), 6)) == plain).all()


def test_broken_and_repeated_files_are_named(photos: list[str], tmp_path: Path) -> None:
    cut, text = tmp_path / "cut.png", tmp_path / "text.png"
    cut.write_bytes(Path(photos[0]).read_bytes()[:400])
    text.write_text("hello")
    again = tmp_path / "again.png"
    again.write_bytes(Path(photos[1]).read_bytes())
    prints = fingerprints([*photos, str(cut), str(text), str(again)])
    assert prints.broken == [str(cut), str(text)] and len(prints.files) == len(prints.hashes) == 5
    lines = leakage.leakage_report({"train": prints, "valid": fingerprints([])}).splitlines()
    assert lines[1:3] == ["  cut.png", "  text.png"] and lines[4:] == ["  1.png", "  again.png"]
    assert len(leakage.leakage_report({"train": fingerprints(photos)}).splitlines()) == 1


@pytest.mark.parametrize("sides", [[8] * 10, [2, *[8] * 30], []])
def test_a_size_that_will_do_stays(sides: list[float]) -> None:
    assert size_advice(of_sides(*sides), 640, 1000, 4) == {}


@pytest.mark.parametrize(("side", "image_size"), [(7.9, 640), (4, 320), (1, 640), (0.2, 512)])
def test_the_advised_size_and_tile_show_small_boxes_at_two_cells(
    side: float, image_size: int
) -> None:
    found = size_advice(of_sides(side, side, 90), image_size, original=2000, stride=4)
    size = found.pop("dataloader.image_size")
    assert image_size < size <= 1024 and size % 32 == 0
    seen = side * size / image_size
    if not found:
        assert seen >= 8
    else:
        tile = found["evaluation.test.tile"]
        assert size == 1024 and found == {
            "evaluation.test.tile": tile,
            "evaluation.valid.tile": tile,
        }
        assert seen * 2000 / tile == pytest.approx(8, rel=0.02)


@pytest.mark.parametrize(
    ("low", "high", "zoom", "first"),
    [(10, 60, 1, 10), (10, 60, 2, 20), (1, 30, 1, 4), (5, 600, 1, 5)],
)
def test_advised_anchors_reach_from_the_smallest_to_the_largest(
    low: float, high: float, zoom: float, first: float
) -> None:
    found = anchor_advice(of_sides(*np.linspace(low, low, 50), *[high] * 50), zoom, 4, 32)
    sizes = [size for (size,) in found.pop(f"{ANCHORS}.sizes")]
    assert found == {}, "squares need no other ratios"
    assert sizes[0] == first and sizes[-1] >= zoom * high / 1.02
    assert all(b / a >= 1.9 for a, b in pairwise(sizes))


def test_anchors_that_fit_stay_and_ratios_follow_the_boxes() -> None:
    assert anchor_advice(of_sides(30, 50, 80), 1, 4, 32) == {}
    assert anchor_advice(of_sides(), 1, 4, 32) == {}
    assert anchor_advice(of_sides(30, 50, 80, ratio=4), 1, 4, 32) == {
        f"{ANCHORS}.aspect_ratios": [4, 4, 4]
    }


def test_overrides_arrive_as_written_whatever_the_names() -> None:
    values = {
        "dataset.root": "data/my heads' é [1]",
        "dataset.classes": ["head, or so", "null", "10", "it's", "a\\b"],
        "dataset.merge": {"head, or so": ["with mask", "true"]},
        "dataloader.image_size": 416,
        f"{ANCHORS}.aspect_ratios": [0.5, 1.0, 3.2],
    }
    cfg = to_plain(load_config(BASELINE, overrides(values)))
    for key, value in values.items():
        found = cfg
        for part in key.split("."):
            found = found[part]
        assert found == value


def test_small_boxes_are_shown_a_config_that_is_there():
    [config] = re.findall(r"--config-file (\S+\.py)", config_advice(of_sides(10, 20, 90)))
    assert (ROOT / config).is_file()
    assert config_advice(of_sides(10, 40, 90)) == config_advice(of_sides()) == ""


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_the_pasted_advice_loads_and_names_this_data_set(keep_aspect: bool, tmp_path: Path) -> None:
    root = write_data_set(tmp_path / "my heads")
    write_image(root / "test" / "1.png", seed=0)  # what 0.png is
    merge = {"face": ["head", "heads-detection"]}
    dataset = CocoSplits(str(root), ("face",), merge=merge)
    text = data_check(dataset, 64, stride=16, anchor=64, keep_aspect=keep_aspect)
    assert "1 images of test are identical" not in text and "more than once:\n  0.png" in text
    pasted = [line for line in text.splitlines() if "dataset.root=" in line or ANCHORS in line]
    assert len(pasted) == 2
    cfg = load_config(BASELINE, shlex.split(" ".join(pasted)))
    assert (cfg.dataset.root, cfg.dataset.merge, cfg.train.images) == (str(root), merge, 6)
    assert cfg.dataloader.image_size > 64
    assert cfg.dataloader.resize == ("keep_aspect" if keep_aspect else "stretch")
    assert len(cfg.model.proposal_generator.anchor_generator.sizes) == 5
    assert cfg.model.roi_heads.num_classes == 1
