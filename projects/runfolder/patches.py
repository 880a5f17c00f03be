"""The uncommitted changes of the checkout that a run's code comes from."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from runfolder import schema
from runfolder.files import write_bytes
from runfolder.names import PATCH
from runfolder.provenance import HERE, git

MAX_PATCH = 4 * 2**20
"""Bytes of a patch that is saved; a larger one is data rather than code."""
MAX_NEW_FILE = 256 * 2**10
"""Bytes of a new file that goes into the patch; larger ones are only named."""
MAX_NAMES = 50


@dataclass(frozen=True)
class Patch:
    """What distinguishes the working tree from its last commit."""

    content: bytes
    """As ``git apply`` takes it; empty if there is too much of it."""
    files: tuple[str, ...] = ()
    """Each changed or new file with its lines added and removed, as ``a/b.py (+3 -1)``."""
    left_out: tuple[str, ...] = ()
    """New files that are too large for the patch."""

    def describe(self) -> schema.Patch:
        """What a run record says of it."""
        description: Any = {
            "file": PATCH if self.content else None,
            "sha256": hashlib.sha256(self.content).hexdigest() if self.content else None,
            "files": list(self.files[:MAX_NAMES]),
            "left_out": list(self.left_out[:MAX_NAMES]),
            "note": self._note(),
        }
        return cast(schema.Patch, {k: v for k, v in description.items() if v is not None})

    def _note(self) -> str | None:
        hidden = max(len(self.files) - MAX_NAMES, 0) + max(len(self.left_out) - MAX_NAMES, 0)
        sentences = [f"{hidden} more files are not listed."] if hidden else []
        if not self.content and self.files:
            sentences.append(
                f"The changes are more than {MAX_PATCH // 2**20} MiB and were not saved; commit "
                "them, or have git ignore data, before a run that is to be repeated."
            )
        if self.left_out:
            sentences.append(
                f"New files of more than {MAX_NEW_FILE // 2**10} KiB are not in the patch."
            )
        return " ".join(sentences) or None


@cache  # a process runs the code that it was started with
def uncommitted_patch(folder: Path = HERE) -> Patch | None:
    """The patch of the checkout that holds ``folder``; nothing in the checkout is changed.

    Files that git ignores are no part of it.

    Returns:
        None without git, outside a checkout, before the first commit, and without changes.
    """
    top = os.fsdecode(git(folder, "rev-parse", "--show-toplevel") or b"").rstrip("\n")
    if not top or git(folder, "rev-parse", "--verify", "HEAD") is None:
        return None
    root = Path(top)
    new = _names(git(root, "ls-files", "--others", "--exclude-standard", "-z"))
    small = [name for name in new if _size(root / name) <= MAX_NEW_FILE]
    content, files = _compare(root, small)
    if len(content) > MAX_PATCH:  # perhaps by the new files alone
        small = []
        content, files = _compare(root, small)
    left_out = tuple(name for name in new if name not in set(small))
    patch = Patch(content if len(content) <= MAX_PATCH else b"", files, left_out)
    return patch if patch.files or patch.left_out else None


def save_patch(folder: Path, patch: Patch | None) -> None:
    """Write ``code.patch`` into a run folder, or remove that of an earlier attempt.

    One with other content is kept as ``code.patch.1``, ``code.patch.2``, ...
    """
    path = folder / PATCH
    content = patch.content if patch else b""
    if path.exists() and path.read_bytes() != content:
        number = 1
        while (kept := path.with_name(f"{PATCH}.{number}")).exists():
            number += 1
        path.rename(kept)
    if content:
        write_bytes(path, content)


def _compare(root: Path, new: list[str]) -> tuple[bytes, tuple[str, ...]]:
    """The patch against the last commit, with the untracked files ``new`` in it, and its files."""
    index = root / os.fsdecode(git(root, "rev-parse", "--git-path", "index") or b"").rstrip("\n")
    with tempfile.TemporaryDirectory() as scratch:  # the checkout's own index stays as it is
        copy = Path(scratch) / "index"
        if index.is_file():
            shutil.copy2(index, copy)
        environment = {"GIT_INDEX_FILE": str(copy)}
        if new:
            words = ("add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul")
            stdin = b"\0".join(map(os.fsencode, new))
            git(root, *words, environment=environment, stdin=stdin)
        diff = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "HEAD")
        content = git(root, *diff, "--binary", environment=environment)
        numbers = git(root, *diff, "--numstat", "-z", environment=environment)
    return content or b"", tuple(_counted(row) for row in _names(numbers))


def _counted(row: str) -> str:
    added, removed, name = row.split("\t", 2)
    return f"{name} (binary)" if added == "-" else f"{name} (+{added} -{removed})"


def _names(output: bytes | None) -> list[str]:
    return [os.fsdecode(part) for part in (output or b"").split(b"\0") if part]


def _size(path: Path) -> float:
    try:
        return path.stat().st_size
    except OSError:
        return float("inf")
