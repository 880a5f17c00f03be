"""A zip archive, as ``torch.save`` writes it, that carries its own SHA-256 as its comment.

The two are one file: written, moved, linked, copied and removed together. Other readers of archives
read past a comment.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

_START, _END, _END_SIZE = b"PK\x03\x04", b"PK\x05\x06", 22
_NO_COMMENT = b"\0\0"
"""The length of the comment, with which the end of an archive without one ends."""
_SEAL = re.compile(rb"G\0sha256=([0-9a-f]{64})")
"""The length (71) and the comment. The checksum is that of the archive before it had a comment."""
_SEAL_SIZE = 2 + 71
_CHUNK = 1 << 20  # bytes


class DamagedFileError(ValueError):
    """A file is not what was written."""


class ChecksumWriter:
    """A stream to write an archive to, from its first byte to its last, and then to close.

    Args:
        stream: where it goes; stays open.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sum = hashlib.sha256()
        self._tail = b""

    def write(self, data: bytes) -> int:
        """Write on; returns the number of bytes."""
        self._sum.update(data)
        self._tail = (self._tail + bytes(data[-_END_SIZE:]))[-_END_SIZE:]
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Make the checksum the archive's comment.

        Raises:
            ValueError: what was written is no zip archive, or one with a comment.
        """
        if not _ends_an_archive(self._tail):
            raise ValueError("Only zip archives without a comment can carry a checksum.")
        self._stream.seek(-len(_NO_COMMENT), os.SEEK_END)
        comment = f"sha256={self._sum.hexdigest()}".encode()
        self._stream.write(len(comment).to_bytes(2, "little") + comment)


def has_checksum(path: Path) -> bool:
    """Whether ``path`` ends in a checksum.

    Raises:
        DamagedFileError: it is a zip archive with another end than one has, with checksum or
            without.
    """
    with path.open("rb") as stream:
        return _read_seal(stream) is not None


def verify_checksum(path: Path) -> None:
    """Read ``path`` once, if it carries a checksum.

    Raises:
        DamagedFileError: it is not as it was written.
    """
    with path.open("rb") as stream:
        expected = _read_seal(stream)
        if expected is None:
            return
        left = stream.seek(-_SEAL_SIZE, os.SEEK_END)
        stream.seek(0)
        found = hashlib.sha256()
        while left and (chunk := stream.read(min(left, _CHUNK))):
            found.update(chunk)
            left -= len(chunk)
    found.update(_NO_COMMENT)
    if found.hexdigest() != expected:
        raise DamagedFileError(f"{path} is damaged: it does not match the checksum in it")


def _read_seal(stream: BinaryIO) -> str | None:
    is_archive = stream.read(len(_START)) == _START
    stream.seek(-min(stream.seek(0, os.SEEK_END), _SEAL_SIZE), os.SEEK_END)
    tail = stream.read()
    if seal := _SEAL.fullmatch(tail):
        return seal[1].decode()
    # Whoever flips a byte of the checksum must not turn the file into one without.
    if is_archive and not _ends_an_archive(tail[-_END_SIZE:]):
        raise DamagedFileError(f"{stream.name} is damaged: its end is cut off or changed")
    return None


def _ends_an_archive(tail: bytes) -> bool:
    return len(tail) == _END_SIZE and tail.startswith(_END) and tail.endswith(_NO_COMMENT)
