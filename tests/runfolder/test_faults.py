"""What broke a run off, in a sentence that says what to do; other errors stay what they are."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import torch.multiprocessing

from runfolder.checksums import ChecksumWriter
from runfolder.faults import FULL, KilledError, ToldError, named, reason_of, says_killed
from runfolder.files import replacing

WORKER = "Caught OSError in DataLoader worker process 0.\nOriginal Traceback\nOSError: "


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with one good checkpoint."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").touch()
    with (folder / "model_0000004.pth").open("wb") as stream:
        writer = ChecksumWriter(stream)
        with zipfile.ZipFile(writer, "w") as archive:  # type: ignore[arg-type]
            archive.writestr("weights", bytes(1000))
        writer.close()
    (folder / "last_checkpoint").write_text("model_0000004.pth")
    return folder


@pytest.mark.parametrize("number", FULL)
def test_no_room_names_the_file_its_disk_and_the_good_checkpoint(run, number):
    path = run / "model_0000008.pth"
    with pytest.raises(OSError) as caught, replacing(path) as partial:
        partial.write_bytes(b"a part")
        raise OSError(number, os.strerror(number))  # as a write does, without a name
    assert not list(run.glob(".*")), "partial files are removed"
    sentence = str(named(caught.value, run))
    disk = next(place for place in path.parents if os.path.ismount(place))
    for fact in (
        os.strerror(number),
        str(path),
        f"disk at {disk} has",
        "model_0000004.pth is good",
    ):
        assert fact in sentence
    assert "--resume" in sentence and "\n" not in sentence


@pytest.mark.parametrize("damage", ["none", "flipped", "gone"])
def test_a_checkpoint_that_is_not_good_is_not_offered(run, damage):
    path = run / "model_0000004.pth"
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    if damage == "flipped":
        path.write_bytes(content)
    elif damage == "gone":
        shutil.rmtree(run)
    sentence = str(named(OSError(errno.ENOSPC, "full"), run))
    assert ("model_0000004.pth is good" in sentence) == (damage == "none")


def test_the_cause_is_found_behind_what_hides_it(run):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        try:
            raise full
        finally:
            raise RuntimeError("unexpected pos 3471104 vs 3470992")
    except RuntimeError as error:
        hidden = error
    other_process = OSError(f"{WORKER}[Errno 28] {os.strerror(errno.ENOSPC)}\n")
    shared_memory = RuntimeError(f"unable to write to file </torch_1>: {full.strerror} (28)")
    for error in (hidden, other_process, shared_memory):
        reason = reason_of(named(error, run))
        assert full.strerror in reason and "Traceback" not in reason and "pos 34" not in reason
    assert "</torch_1>" in reason_of(named(shared_memory, run))


def test_a_killed_worker_is_a_kill_and_naming_it_again_changes_nothing(run):
    text = "DataLoader worker (pid 7) is killed by signal: Killed. "
    error = named(RuntimeError(text), run)
    assert isinstance(error, KilledError) and says_killed(reason_of(error))
    assert "num_workers" in str(error) and "model_0000004.pth is good" in str(error)
    assert named(error, run) is error
    assert says_killed(reason_of(ToldError(reason_of(error))))


def _send(queue: torch.multiprocessing.Queue) -> None:
    queue.put(torch.zeros(3))
    queue.close()
    queue.join_thread()
    os._exit(0)  # before the tensor is taken


def test_a_worker_killed_while_its_tensor_is_taken_is_a_kill(run):
    context = torch.multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_send, args=(queue,))
    process.start()
    process.join()
    with pytest.raises((OSError, EOFError)) as caught:
        queue.get()
    assert says_killed(reason_of(named(caught.value, run)))
    same = type(caught.value)(*caught.value.args)
    assert named(same, run) is same, "not one of that type from elsewhere"


def test_a_missing_file_is_a_missing_folder_only_where_it_is(run, tmp_path):
    inside = FileNotFoundError(2, "No such file", os.fsencode(run / "events.out.tfevents.1"))
    outside = FileNotFoundError(2, "No such file", str(tmp_path / "image.jpg"))
    assert named(inside, run) is inside and named(outside, run) is outside
    shutil.rmtree(run)
    assert "removed or moved" in str(named(inside, run)) and named(outside, run) is outside


@pytest.mark.parametrize(
    "error",
    [
        ValueError("No space left on device"),  # somebody's sentence
        PermissionError(errno.EACCES, "Permission denied", "x"),
        KeyError("x"),
        FloatingPointError("not finite"),
    ],
)
def test_other_errors_stay(run, error):
    assert named(error, run) is error and not says_killed(reason_of(error))


def test_the_sentence_of_an_error_from_a_data_loading_process():
    text = "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback\n"
    assert reason_of(ValueError(f"{text}ValueError: a b\n")) == "ValueError: a b"
    assert reason_of(ValueError("plain")) == "ValueError: plain"
