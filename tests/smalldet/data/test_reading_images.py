"""The one place where images are read: depths, modes, orientation, files that are cut short."""

from __future__ import annotations

import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from coco_folders import box, coco, image, write_data_set, write_image, write_split
from detectron2.data import detection_utils
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from smalldet.data.check.leakage import difference_hash, fingerprints
from smalldet.data.errors import DataError
from smalldet.data.filter.cache import ensure_filtered
from smalldet.data.filter.report import FINDINGS
from smalldet.data.images import check_image, read_image
from smalldet.data.mapper import SeededMapper
from smalldet.predict.images import read_image as read_to_predict

RAMP = np.linspace(0, 1, 40 * 30).reshape(30, 40)  # from black to white
SHOWN = np.rint(RAMP * 255).astype(np.uint8)


def saved(path: Path, pixels: np.ndarray, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("grey.png", SHOWN),
        ("16 bits.png", np.rint(RAMP * 65535).astype(np.uint16)),
        ("16 bits.tif", np.rint(RAMP * 65535).astype(np.uint16)),
        ("other order.tif", np.rint(RAMP * 65535).astype(">u2")),
        ("floats.tif", RAMP.astype(np.float32)),
    ],
)
def test_all_depths_show_the_same_picture_everywhere(tmp_path, name, pixels) -> None:
    path = saved(tmp_path / name, pixels)
    assert check_image(path) == (40, 30)
    for seen in (read_image(path, "RGB"), read_to_predict(path, "RGB", "RGB")):
        assert seen.dtype == np.uint8 and seen.shape == (30, 40, 3)
        assert np.abs(seen.astype(int) - SHOWN[..., None]).max() <= 1
    entry = {"file_name": str(path), "image_id": 1, "width": 40, "height": 30}
    assert np.array_equal(SeededMapper([], False)(entry)["image"][0].numpy(), seen[..., 0])
    plain = io.BytesIO()
    Image.fromarray(SHOWN).save(plain, "png")
    answers = difference_hash(path.read_bytes()) == difference_hash(plain.getvalue())
    assert answers.mean() > 0.95


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("32 bits.tif", np.rint(RAMP * 65535).astype(np.int32)),
        ("0 to 255.tif", (RAMP * 255).astype(np.float32)),
        ("below.tif", (RAMP - 0.5).astype(np.float32)),
        ("nan.tif", np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32)),
    ],
)
def test_other_depths_are_left_out_and_refused_with_a_sentence(tmp_path, name, pixels) -> None:
    path = saved(tmp_path / "train" / name, pixels)
    assert check_image(path) == "images_of_other_depth"
    with pytest.raises(DataError, match=r"65535.* 0 to 1"):
        read_image(path, "RGB")
    with pytest.raises(OSError, match=r"65535.* 0 to 1"):
        read_to_predict(path, "RGB", "RGB")
    assert fingerprints([str(path)]).broken == [str(path)]


def test_twelve_bits_are_not_taken_for_sixteen(tmp_path) -> None:
    path = saved(tmp_path / "a.tif", np.rint(RAMP * 4095).astype(np.uint16))
    content = bytearray(path.read_bytes())
    entry = struct.pack("<HHLH", 258, 3, 1, 16)  # BitsPerSample, one short
    assert content.count(entry) == 1
    path.write_bytes(content.replace(entry, struct.pack("<HHLH", 258, 3, 1, 12)))
    assert check_image(path) == "images_of_other_depth"


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "PA"])
@pytest.mark.parametrize("wanted", ["RGB", "BGR", "L"])
def test_eight_bits_are_read_as_detectron2_reads_them(tmp_path, mode, wanted) -> None:
    path = tmp_path / "a.tif"
    colours = np.dstack([SHOWN, SHOWN[::-1], np.full_like(SHOWN, 200)])
    grey = Image.fromarray(colours)
    (grey.convert("P").convert(mode) if mode == "PA" else grey.convert(mode)).save(path)
    with Image.open(path) as opened:
        assert opened.mode == mode
    assert np.array_equal(read_image(path, wanted), detection_utils.read_image(str(path), wanted))
    assert check_image(path) == (40, 30)


@pytest.mark.filterwarnings("ignore")  # Pillow's about MPO of CMYK
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"quality": 60, "subsampling": "4:4:4"},
        {"quality": 98, "subsampling": "4:2:2", "progressive": True},
        {"keep_rgb": True},
        {"format": "MPO", "save_all": True, "append_images": [Image.new("RGB", (40, 30))]},
        {"restart_marker_blocks": 2, "dpi": (300, 300), "comment": "after the header"},
    ],
)
@pytest.mark.parametrize("wanted", ["RGB", "BGR", "L"])
def test_jpegs_are_read_as_detectron2_reads_them(tmp_path, mode, how, wanted) -> None:
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (37, 51, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path, **how)
    assert np.array_equal(read_image(path, wanted), detection_utils.read_image(str(path), wanted))
    assert check_image(path) == (51, 37)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(10))  # 0 and 9 mean nothing
def test_images_are_turned_as_detectron2_turns_them(tmp_path, suffix, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", SHOWN, exif=exif)
    oracle = saved(tmp_path / "b.png", SHOWN, exif=exif) if suffix == "tif" else path
    seen = read_image(path, "RGB")
    assert np.array_equal(seen, detection_utils.read_image(str(oracle), "RGB"))
    assert check_image(path) == seen.shape[1::-1]


def test_turned_images_of_sixteen_bits_are_turned(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", np.rint(RAMP * 65535).astype(np.uint16), exif=exif)
    assert np.array_equal(read_image(path, "L")[..., 0], np.rot90(SHOWN, -1))
    assert check_image(path) == (30, 40)


@pytest.mark.parametrize(
    ("suffix", "how"),
    [("jpg", {}), ("jpg", {"progressive": True}), ("png", {}), ("bmp", {}), ("tif", {})],
)
@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
def test_images_that_decode_only_in_part_are_told_apart(tmp_path, suffix, how, share) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    path = saved(tmp_path / f"a.{suffix}", noise, **how)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert check_image(path) == "images_cut_short"
    for read in (lambda: read_image(path, "RGB"), lambda: read_to_predict(path, "RGB", "RGB")):
        with pytest.raises((DataError, OSError), match="truncated"):
            read()


END = b"\xff\xd9"  # of a JPEG


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("end", [END, bytes(99) + END])
def test_jpegs_cut_short_are_known_although_they_end_well(tmp_path, progressive, end) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    path = saved(tmp_path / "a.jpg", noise, progressive=progressive)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + end)
    assert check_image(path) == "images_cut_short"
    with pytest.raises(DataError, match="truncated"):
        read_image(path, "RGB")


def test_jpegs_with_bytes_too_many_are_whole(tmp_path) -> None:
    path = saved(tmp_path / "a.jpg", np.dstack([SHOWN] * 3))
    content, seen = path.read_bytes(), read_image(path, "RGB")
    for odd in (content + bytes(50), content[:-2] + b"\x12" * 50 + END):
        path.write_bytes(odd)
        assert check_image(path) == (40, 30)
        assert np.array_equal(read_image(path, "RGB"), seen)


def test_what_cannot_be_used_is_counted_in_training_and_doctor_alike(tmp_path) -> None:
    folder = write_data_set(tmp_path) / "train"
    names = ("0.png", "1.png", "2.png", "3.png")
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:-200])
    (folder / "1.png").write_bytes(b"no image")
    saved(folder / "2.png", np.full((30, 40), 300, np.int32), format="tiff")
    (folder / "3.png").unlink()
    (folder / "3.png").symlink_to(tmp_path / "nowhere.png")
    report = ensure_filtered(folder, ["head"]).report
    assert report.images == 2
    found = ("cut_short", "unreadable", "of_other_depth", "without_file")
    assert {f"images_{name}": 1 for name in found}.items() <= report.counts.items()
    examples = [report.examples[f"images_{name}"] for name in found]
    assert examples == [[name] for name in names]
    assert all(FINDINGS[f"images_{name}"] in report.summary("train") for name in found)


def encoded(suffix: str) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (12, 16, 3), np.uint8)
    pixels = noise if suffix != "tiff" else noise[..., 0].astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(stream, suffix, exif=exif)
    return stream.getvalue()


WHOLE = {suffix: encoded(suffix) for suffix in ("png", "jpeg", "tiff", "bmp", "webp")}


@pytest.mark.filterwarnings("ignore")  # Pillow's about odd files
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_damaged_images_are_read_or_named(tmp_path_factory, suffix, data) -> None:
    content = bytearray(WHOLE[suffix])
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 4, len(content))) :]
    path = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
    path.write_bytes(content)
    size = check_image(path)
    assert isinstance(size, tuple) or size in FINDINGS
    try:
        seen = read_image(path, "RGB")
    except DataError as error:
        assert not isinstance(size, tuple) and path.name in str(error)
    else:
        assert size == seen.shape[1::-1]


def test_a_picture_that_vanishes_is_named_by_the_doctor(tmp_path) -> None:
    write_image(tmp_path / "a.png")
    files = [str(tmp_path / "a.png"), str(tmp_path / "gone.png")]
    assert fingerprints(files).broken == files[1:]


def test_names_that_no_terminal_prints_are_told(tmp_path) -> None:
    folder = tmp_path / "train"
    write_split(folder, coco([image(0)], [box(0, 0, [1, 2, 10, 9])]))
    shutil.copy(folder / "0.png", bytes(folder) + b"/\xff.png")
    report = ensure_filtered(folder, ["head"]).report
    assert report.counts == {"files_without_entry": 1}
    report.summary("train").encode()
