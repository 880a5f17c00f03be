"""Writes that fail as a run trains: what is left is good, and goes on to the same digits."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from toys import assert_same_weights, metrics, train_toy

from runfolder.checksums import ChecksumWriter, verify_checksum
from runfolder.faults import FullDiskError, named
from runfolder.records import start_record
from smalldet.engine.checkpoint import RunCheckpointer, save_whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    return train_toy(tmp_path_factory.mktemp("whole"), 8)


def full_after(calls: int, genuine: Callable) -> Callable:
    """``genuine``, which fails for want of space after so many calls."""
    left = iter(range(calls))

    def write(*args: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return genuine(*args, **options)

    return write


@pytest.mark.parametrize(
    ("owner", "name", "calls", "file"),
    [
        (ChecksumWriter, "write", 300, "model_"),
        (ChecksumWriter, "close", 3, "model_"),
        (RunCheckpointer, "tag_last_checkpoint", 1, None),
        (os, "fsync", 8, None),
    ],
)
def test_a_full_disk(tmp_path, monkeypatch, whole, owner, name, calls, file):
    with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
        patch.setattr(owner, name, full_after(calls, getattr(owner, name)))
        train_toy(tmp_path, 8)
    error = named(caught.value, tmp_path)
    assert isinstance(error, FullDiskError) and (file or "") in str(error)
    assert not list(tmp_path.glob(".*")), "partial files are removed"
    (good,) = (p for p in tmp_path.glob("model_0*.pth") if f"{p.name} is good" in str(error))
    verify_checksum(good)
    resumed = train_toy(tmp_path, 8)
    assert resumed.start_iter == int(good.stem[-7:])
    assert metrics(resumed) == metrics(whole)
    assert_same_weights(resumed, whole)


def test_a_limit_on_the_size_of_files(tmp_path):
    path = tmp_path / "model.pth"
    save_whole({"a": torch.zeros(3)}, path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            save_whole({"a": torch.zeros(1 << 20)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == before


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_folder_that_is_gone_ends_the_run(tmp_path, monkeypatch, is_moved):
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    start_record(folder, [])

    def sample(n: int, genuine=toys.sample) -> dict:
        if n == 35:  # of the step after the second checkpoint
            folder.rename(elsewhere)
            if not is_moved:
                shutil.rmtree(elsewhere)
        return genuine(n)

    monkeypatch.setattr(toys, "sample", sample)
    with pytest.raises(FileNotFoundError) as caught:
        train_toy(folder, 8)
    sentence = str(named(caught.value, folder))
    assert str(folder) in sentence and "removed or moved" in sentence
    assert not list(Path(folder).glob("model_*")), "nothing is written to another folder"
    if is_moved:
        monkeypatch.undo()
        assert train_toy(elsewhere, 8).start_iter == 4
