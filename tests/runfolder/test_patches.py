"""The patch of uncommitted changes leads from the commit to the working tree, and harms nothing."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from runfolder import patches
from runfolder.patches import MAX_NAMES, PATCH, Patch, save_patch, uncommitted_patch

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, check=True
    )
    return done.stdout.decode()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "a.py").write_text("x = 1\ny = 2\n")
    (folder / "picture.bin").write_bytes(bytes(range(256)))
    (folder / ".gitignore").write_text("ignored/\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "start")
    uncommitted_patch.cache_clear()
    return folder


def patch_of(folder: Path) -> Patch:
    uncommitted_patch.cache_clear()
    patch = uncommitted_patch(folder)
    assert patch is not None
    return patch


def change(folder: Path) -> None:
    """A changed, a deleted and two new files, one of them with a name that hurts."""
    (folder / "package" / "a.py").write_text("x = 1\ny = 3\nz = 'ä'\n", encoding="latin-1")
    (folder / "picture.bin").unlink()
    (folder / "package" / "neu ä.py").write_text("new = True\n")
    (folder / "raw.bin").write_bytes(b"\0\xff")
    (folder / "ignored").mkdir()
    (folder / "ignored" / "data").write_text("not code")


def test_applied_to_the_commit_it_gives_the_working_tree(checkout, tmp_path):
    change(checkout)
    patch = patch_of(checkout / "package")  # from a folder inside
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(checkout), str(copy))
    (tmp_path / PATCH).write_bytes(patch.content)
    git(copy, "apply", str(tmp_path / PATCH))
    trees = [
        {
            p.relative_to(root): p.read_bytes()
            for p in root.rglob("*")
            if p.is_file() and not {".git", "ignored"} & set(p.relative_to(root).parts)
        }
        for root in (checkout, copy)
    ]
    assert trees[0] == trees[1] and len(trees[0]) == 4


def test_files_are_named_with_their_lines_and_the_checkout_stays_as_it_is(checkout):
    change(checkout)
    git(checkout, "add", "raw.bin")
    before = git(checkout, "status", "--porcelain"), (checkout / ".git" / "index").read_bytes()
    patch = patch_of(checkout)
    assert before == (
        git(checkout, "status", "--porcelain"),
        (checkout / ".git" / "index").read_bytes(),
    )
    description = patch.describe()
    assert description["files"] == [
        "package/a.py (+2 -1)",
        "package/neu ä.py (+1 -0)",
        "picture.bin (binary)",
        "raw.bin (binary)",
    ]
    assert description["sha256"] == hashlib.sha256(patch.content).hexdigest()
    assert description["left_out"] == [] and "note" not in description


@pytest.mark.parametrize("state", ["clean", "no commit", "no checkout", "no git"])
def test_nothing_to_tell_is_none(checkout, tmp_path, monkeypatch, state):
    folder = checkout if state == "clean" else tmp_path / "other"
    folder.mkdir(exist_ok=True)
    if state == "no commit":
        git(folder, "init", "-q")
        (folder / "a.py").touch()
    if state == "no git":
        change(checkout)
        monkeypatch.setenv("PATH", "")
        folder = checkout
    uncommitted_patch.cache_clear()
    assert uncommitted_patch(folder) is None


@pytest.mark.parametrize("limit", ["MAX_NEW_FILE", "MAX_PATCH"])
def test_large_new_files_are_named_only_and_do_not_push_the_changes_out(
    checkout, monkeypatch, limit
):
    monkeypatch.setattr(patches, limit, 1000)  # bytes of one, and of all together
    (checkout / "package" / "a.py").write_text("x = 2\n")
    (checkout / "big.json").write_text("0\n" * 1000)
    patch = patch_of(checkout)
    assert patch.files == ("package/a.py (+1 -2)",) and patch.left_out == ("big.json",)
    assert "are not in the patch" in patch.describe()["note"]


def test_too_large_a_patch_is_a_sentence(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(patches, "MAX_PATCH", 10)
    (checkout / "package" / "a.py").write_text("x = 2\n")
    patch = patch_of(checkout)
    assert patch.content == b"" and "were not saved" in patch.describe()["note"]
    save_patch(tmp_path, patch)
    assert not (tmp_path / PATCH).exists()


def test_long_lists_of_names_are_cut_and_counted():
    patch = Patch(b"x", tuple(f"{n}.py (+1 -0)" for n in range(MAX_NAMES + 3)))
    assert len(patch.describe()["files"]) == MAX_NAMES
    assert "3 more files are not listed" in patch.describe()["note"]


def test_a_run_that_goes_on_with_other_code_keeps_both_patches(tmp_path):
    for content in (b"first", b"first", b"second", b"third"):
        save_patch(tmp_path, Patch(content, ("a.py (+1 -0)",)))
    save_patch(tmp_path, None)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {f"{PATCH}.1": b"first", f"{PATCH}.2": b"second", f"{PATCH}.3": b"third"}
