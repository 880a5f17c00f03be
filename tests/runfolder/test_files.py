"""A file is the old or the new version, and nothing else stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from runfolder.files import replacing, write_bytes, write_text


@pytest.mark.parametrize("sync", [False, True])
def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "new folder" / "matches.npz"
    write_bytes(path, b"old")
    with replacing(path, sync) as partial:
        partial.write_bytes(b"half")
        assert path.read_bytes() == b"old"
        assert (partial.parent, partial.suffix) == (path.parent, ".npz"), "savers look at it"
        partial.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_alone(tmp_path: Path, error: type) -> None:
    path = tmp_path / "file"
    write_text(path, "ä")
    with pytest.raises(error), replacing(path) as partial:
        partial.write_text("half")
        raise error
    with pytest.raises(RuntimeError), replacing(path):
        raise RuntimeError("before anything was written")
    assert path.read_text(encoding="utf-8") == "ä"
    assert [*tmp_path.iterdir()] == [path]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as first, replacing(tmp_path / "file") as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "file").read_text() == "1", "the last one to end"


def test_replacing_a_file_by_a_link_to_it_leaves_nothing_behind(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("1")
    for _ in range(2):
        with replacing(target) as partial:
            partial.hardlink_to(source)
    assert {*tmp_path.iterdir()} == {source, target} and target.samefile(source)
