"""The filtered file beside its source: written whole, reused only while nothing changed."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from coco_folders import CATEGORIES, box, coco, image, write_image, write_split

from smalldet.data.errors import DataError
from smalldet.data.files import list_images
from smalldet.data.filter import cache as filtered_files
from smalldet.data.filter.cache import FILTERED_NAME, SOURCE_NAME, ensure_filtered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_split(tmp_path / "train", coco([image(0), image(1)], [box(0, 0, [1, 2, 10, 9])]))
    return tmp_path / "train"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that were built, in order."""
    built: list[Path] = []
    build = filtered_files._build

    def counting(path: Path, *rest: Any) -> Any:
        built.append(path)
        return build(path, *rest)

    monkeypatch.setattr(filtered_files, "_build", counting)
    return built


def test_it_is_written_once_and_then_reused(folder: Path, builds: list[Path]) -> None:
    first = ensure_filtered(folder, ["head"])
    again = ensure_filtered(folder, ["head"])
    assert (first, len(builds)) == (again, 1)
    info = json.loads(first.path.read_text())["info"]
    assert info["filter_report"] == vars(first.report)
    assert info["classes"] == ["head"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["0.png", "1.png", SOURCE_NAME, FILTERED_NAME]
    )


def change_source(folder: Path) -> None:
    write_split(folder, coco([image(0), image(1)], [box(0, 0, [1, 2, 10, 8])]))


def restore_old_time(folder: Path) -> None:
    change_source(folder)
    os.utime(folder / SOURCE_NAME, (0, 0))  # an older source is another source all the same


def copy_from_another(folder: Path) -> None:
    other = folder.parent / "valid"
    write_split(other, coco([image(0), image(1)], []))
    data = ensure_filtered(other, ["head"]).path.read_bytes()
    (folder / FILTERED_NAME).write_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        change_source,
        restore_old_time,
        copy_from_another,
        lambda folder: write_image(folder / "late.png"),
        lambda folder: (folder / "1.png").unlink(),
        lambda folder: os.truncate(folder / FILTERED_NAME, 100),
        lambda folder: (folder / FILTERED_NAME).write_text("[1, 2]"),
    ],
)
def test_it_is_built_again_when_it_no_longer_fits(folder: Path, builds: list[Path], change) -> None:
    ensure_filtered(folder, ["head"])
    change(folder)
    builds.clear()
    result = ensure_filtered(folder, ["head"])
    assert builds == [folder / FILTERED_NAME]
    assert json.loads(result.path.read_text()) == result.content
    assert result == ensure_filtered(folder, ["head"])


def cut_to_one_box(content: dict[str, Any]) -> None:
    del content["annotations"][1:]


def move_a_box(content: dict[str, Any]) -> None:
    content["annotations"][0]["bbox"][0] += 1


def drop_the_checksum(content: dict[str, Any]) -> None:
    del content["sha256"]


@pytest.mark.parametrize("change", [cut_to_one_box, move_a_box, drop_the_checksum])
def test_content_that_is_not_what_was_written_is_built_again(
    folder: Path, builds: list[Path], change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    boxes = [box(n, n % 2, [1 + n, 2, 10, 9]) for n in range(4)]
    write_split(folder, coco([image(0), image(1)], boxes))
    whole = ensure_filtered(folder, ["head"])
    written = whole.path.read_bytes()
    content = json.loads(written)
    change(content)
    whole.path.write_text(json.dumps(content))  # as sound as any JSON
    builds.clear()
    assert ensure_filtered(folder, ["head"]) == whole
    assert builds == [whole.path] and whole.path.read_bytes() == written
    assert str(whole.path) in caplog.text


def test_each_changed_byte_is_seen(folder: Path, builds: list[Path]) -> None:
    whole = ensure_filtered(folder, ["head"])
    content = whole.path.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        whole.path.write_bytes(changed)
        builds.clear()
        assert ensure_filtered(folder, ["head"]) == whole and builds == [whole.path]


def test_the_checksum_in_the_file_does_not_make_other_data(folder: Path) -> None:
    found = ensure_filtered(folder, ["head"])
    content = json.loads(found.path.read_text())
    assert content.pop("sha256") == found.checksum
    assert hashlib.sha256(json.dumps(content).encode()).hexdigest() == found.checksum


def test_other_classes_and_versions_build_again(
    folder: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_filtered(folder, ["head"])
    ensure_filtered(folder, ["heads-detection"])
    monkeypatch.setattr(filtered_files, "FORMAT_VERSION", 99)
    ensure_filtered(folder, ["heads-detection"])
    assert len(builds) == 3


def test_merges_build_again_whatever_their_order_and_none_is_as_it_was(
    folder: Path, builds: list[Path]
) -> None:
    other = {"head": ["heads-detection", "head"]}
    plain = ensure_filtered(folder, ["head"])
    assert "merge" not in plain.content["info"]
    merged = ensure_filtered(folder, ["head"], other)
    assert merged.checksum != plain.checksum
    same = ensure_filtered(folder, ["head"], {"head": ["head", "heads-detection"]})
    assert (same, len(builds)) == (merged, 2)
    assert ensure_filtered(folder, ["head"], {"head": []}) == plain


def test_many_at_once_agree(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: ensure_filtered(folder, ["head"]), range(16)))
    assert len({result.checksum for result in results}) == 1
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_content_does_not_depend_on_the_place(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    first = ensure_filtered(folder, ["head"]).checksum
    folder.rename(moved)
    (moved / FILTERED_NAME).unlink()
    assert ensure_filtered(moved, ["head"]).checksum == first


@pytest.mark.parametrize("text", ['{"images": [', "", "\xff\xfe", "not json"])
def test_broken_json_is_a_sentence(folder: Path, text: str) -> None:
    (folder / SOURCE_NAME).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"{SOURCE_NAME} is not valid JSON .* cut short"):
        ensure_filtered(folder, ["head"])


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, f"[{'9' * 5000}]"])
def test_json_beyond_all_limits_is_a_sentence(folder: Path, text: str) -> None:
    (folder / SOURCE_NAME).write_text(text)
    with pytest.raises(DataError, match=SOURCE_NAME) as caught:
        ensure_filtered(folder, ["head"])
    assert len(str(caught.value)) < 500


def test_odd_values_end_in_counts_whatever_they_are(folder: Path) -> None:
    nested: Any = 1
    for _ in range(400):
        nested = [nested]
    odd = [10**400, -(10**400), 2**70, nested, {"a": nested}, "\ud800", True, 1e999, None]
    sound = box(0, 0, [1, 2, 10, 9])
    images = [image(0), *({**image(1), key: value} for key in image(1) for value in odd)]
    boxes = [sound, *({**sound, key: value} for key in sound for value in odd)]
    boxes += [{**sound, "bbox": [1, value, 3, 4]} for value in odd]
    categories = [*CATEGORIES, *({"id": v, "name": w} for v in odd for w in odd)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (folder / SOURCE_NAME).write_text(json.dumps(content))
    found = ensure_filtered(folder, ["head"])
    assert found.report.images == 2 and found.report.boxes >= 1  # 1.png under one id of all
    assert {entry["category_id"] for entry in found.content["annotations"]} == {1}
    found.report.summary("train").encode()  # can be printed
    assert all(len(x) < 300 for some in found.report.examples.values() for x in some)


def test_errors_name_the_file(folder: Path) -> None:
    with pytest.raises(DataError, match=rf"train.{SOURCE_NAME}: Wanted are"):
        ensure_filtered(folder, ["helmet"])
    for path in folder.glob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match="no image files"):
        ensure_filtered(folder, ["head"])


def test_a_folder_that_cannot_be_written_is_a_sentence_and_a_built_one_is_not_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        with pytest.raises(DataError, match=r"cannot be written .*Permission denied.* once"):
            ensure_filtered(folder, ["head"])
    ensure_filtered(folder, ["head"])
    monkeypatch.setattr(Path, "write_bytes", refuse)
    ensure_filtered(folder, ["head"])


def test_a_byte_order_mark_is_no_problem(folder: Path) -> None:
    source = folder / SOURCE_NAME
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes())
    assert ensure_filtered(folder, ["head"]).report.boxes == 1


def test_the_listing_is_sorted_recursive_and_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.JPG", "a b.png", "sub/c.jpeg", ".hidden.png", ".dir/x.png", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "z.png").symlink_to("nothing.png")
    assert list_images(tmp_path) == ["a b.png", "b.JPG", "sub/c.jpeg"]
