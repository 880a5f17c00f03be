"""A zip archive carries its own checksum: every flipped byte and every cut is seen."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from runfolder.checksums import ChecksumWriter, DamagedFileError, has_checksum, verify_checksum


def archive(size: int = 300) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        written.writestr("data.pkl", bytes(n % 251 for n in range(size)))
        written.writestr("version", "3")
    return stream.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An archive with its checksum."""
    path = tmp_path / "model.pth"
    with path.open("wb") as stream:
        writer = ChecksumWriter(stream)
        content = archive()
        for start in range(0, len(content), 100):  # in parts, as savers do
            writer.write(content[start : start + 100])
        writer.close()
    return path


def test_it_is_still_an_archive_and_is_intact(path: Path) -> None:
    assert has_checksum(path)
    verify_checksum(path)
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None and found.read("version") == b"3"
        assert found.comment.startswith(b"sha256=")
    copy = path.rename(path.with_name("elsewhere.pth"))
    verify_checksum(copy)


def test_a_byte_flipped_anywhere_is_seen(path: Path) -> None:
    whole = path.read_bytes()
    assert len(whole) < 1000
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match="damaged"):
            verify_checksum(path)


def test_every_cut_and_every_appended_byte_is_seen(path: Path) -> None:
    whole = path.read_bytes()
    for end in range(4, len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(DamagedFileError):
            verify_checksum(path)
    path.write_bytes(whole + b"\n")
    with pytest.raises(DamagedFileError):
        verify_checksum(path)


@pytest.mark.parametrize("content", [archive(), b"", b"\x80\x02older", b"PK"])
def test_what_carries_none_is_told_apart(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not has_checksum(path)
    verify_checksum(path)


def test_what_is_no_archive_is_not_given_a_checksum(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as stream:
        writer = ChecksumWriter(stream)
        writer.write(b"text")
        with pytest.raises(ValueError, match="zip"):
            writer.close()
