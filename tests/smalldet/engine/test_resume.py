"""A run goes on from a whole checkpoint of its own, or says what differs and which one is good."""

from __future__ import annotations

import logging
import math
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from toys import ToyModel, assert_same_weights, kill_toy, train_toy

from runfolder.checksums import has_checksum, verify_checksum
from smalldet.backbones.weight_files import CheckpointError, read_checkpoint, read_file
from smalldet.engine.checkpoint import RunCheckpointer
from smalldet.engine.weights import load_start_weights, load_weights

STEPS = 8
OPTIONS = {"decay": 0.9, "patience": 9}  # every hook that has a state


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 8 steps that was killed in step 5, with checkpoints of 2 and 4."""
    folder = tmp_path_factory.mktemp("interrupted")
    kill_toy(folder, STEPS, stop_at=4, **OPTIONS)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    """The same run, uninterrupted."""
    return train_toy(tmp_path_factory.mktemp("whole"), STEPS, **OPTIONS)


@pytest.fixture
def folder(interrupted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(interrupted, tmp_path / "run"))


def resume(folder: Path):
    return train_toy(folder, STEPS, **OPTIONS)


def last(folder: Path) -> Path:
    return folder / (folder / "last_checkpoint").read_text()


def change(path: Path, edit) -> None:
    """Save a checkpoint again, changed and without a checksum, as another program would."""
    content = torch.load(path, weights_only=False)  # our own file, read by pickle in C: quicker
    edit(content)
    torch.save(content, path)


def without(*keys):
    def edit(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return edit


def put(value, *keys):
    def edit(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return edit


def refused(folder: Path) -> str:
    before = {path.name: path.read_bytes() for path in folder.glob("*.pth")}
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        resume(folder)
    assert {path.name: path.read_bytes() for path in folder.glob("*.pth")} == before
    return str(caught.value)


W = "first.weight"
ADAM = ("trainer", "optimizer", "state", 0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        (without("model", W), "first.weight is missing"),
        (put(torch.ones(1), "model", "third"), "third is unknown"),
        (put(torch.ones(1, 4), "model", W), r"first.weight is \(1, 4\) instead of \(8, 4\)"),
        (put(torch.ones(8, 4).half(), "model", W), "first.weight is float16 instead of float32"),
        (put([1.0], "model", W), "first.weight"),
        (put(torch.ones(8, 4).to_sparse(), "model", W), "first.weight"),
        (put(torch.ones(8, 4, device="meta"), "model", W), "first.weight"),
        (put(torch.ones(1), "model", 7), "7"),
        (put([torch.ones(1)], "model"), "model"),
        (put(None, "model"), "model"),
        (without("trainer"), "trainer"),
        (put(None, "trainer"), "trainer"),
        (without("processes"), "processes"),
        (put([], "processes"), "processes"),
        (put([None], "processes"), "processes"),
        (without("data_fingerprint"), "data_fingerprint"),
        *(
            (without("trainer", key), f"{key} is missing")
            for key in ("iteration", "optimizer", "scaler", "samples_seen", "history", "hooks")
        ),
        *(
            (without("trainer", "hooks", key), f"{key} is missing")
            for key in ("Throughput", "LRScheduler", "Evaluate", "EvaluateAverage", "EarlyStop")
        ),
        (put({}, "trainer", "hooks", "Other"), "Other is unknown"),
        (without("trainer", "hooks", "Evaluate", "best_score"), "best_score is missing"),
        (put("3", "trainer", "hooks", "Evaluate", "best_score"), "best_score"),
        (without("trainer", "hooks", "LRScheduler", "last_epoch"), "last_epoch is missing"),
        (without("trainer", "hooks", "EvaluateAverage", "average", "average", W), f"{W} is miss"),
        (put("x", "trainer", "iteration"), "iteration"),
        (put(True, "trainer", "iteration"), "iteration"),
        (without("trainer", "history", "total_loss"), "total_loss is missing"),
        (put([1], "trainer", "history", "total_loss"), "history"),
        (without("trainer", "optimizer", "state"), "optimizer"),
        (without(*ADAM), "optimizer.* 3 .* 4"),
        (put({}, "trainer", "optimizer", "state"), "optimizer"),
        (put(torch.ones(3), *ADAM, "exp_avg"), r"exp_avg is \(3,\) instead of \(8, 4\)"),
        (put({}, "trainer", "optimizer", "state", 9), "9 is unknown"),
        (without("trainer", "optimizer", "param_groups", 0), "param_groups"),
        (without("trainer", "optimizer", "param_groups", 0, "lr"), "lr is missing"),
        (put([0], "trainer", "optimizer", "param_groups", 0, "params"), "params"),
        (without("processes", 0, "random"), "random"),
        (without("processes", 0, "random", "torch"), "random"),
        (put(torch.ones(3), "processes", 0, "random", "torch"), "random"),
        (put({"total_loss": ([("x", 1)], True)}, "trainer", "history"), "history"),
        (put([], "trainer", "optimizer", "param_groups"), "param_groups"),
        (put([1], "trainer", "optimizer", "state"), "optimizer"),
        (put(3, "trainer", "optimizer"), "optimizer"),
        (put({}, "processes", 0, "recurrent"), "recurrent is unknown"),
    ],
)
def test_what_differs_is_refused_by_name(folder, edit, fact):
    change(last(folder), edit)
    message = refused(folder)
    assert re.search(fact, message), message
    assert last(folder).name in message and len(message) < 900
    if "whole" in message:
        assert "earlier version or another program" in message  # it has no checksum


def test_many_differences_are_counted(folder):
    change(last(folder), lambda content: content["model"].clear())
    assert "4" in refused(folder)


def test_a_checkpoint_of_before_has_no_checksum_and_goes_on_to_the_same_digits(
    folder, whole, caplog
):
    def as_before(content):
        del content["trainer"]["optimizer_entries"]

    change(last(folder), as_before)
    with caplog.at_level(logging.INFO):
        assert_same_weights(resume(folder), whole)
    assert "no checksum" in caplog.text and last(folder).name in caplog.text


def test_each_flipped_byte_of_2000_is_refused_before_anything_is_unpickled(folder, monkeypatch):
    path = last(folder)
    whole = path.read_bytes()

    def load(*args, **options):
        pytest.fail("a damaged file was unpickled")

    monkeypatch.setattr(torch, "load", load)
    for n in range(2000):
        position = n * (len(whole) - 1) // 1999
        with path.open("r+b") as stream:
            stream.seek(position)
            stream.write(bytes([whole[position] ^ (1 << n % 8)]))
        with pytest.raises(CheckpointError, match="damaged"):
            read_file(path)
        with path.open("r+b") as stream:
            stream.seek(position)
            stream.write(whole[position : position + 1])
    assert path.read_bytes() == whole


def flip(path: Path, position: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * position)] ^= 16
    path.write_bytes(content)


def follow(message: str) -> str:
    """Do what is printed; returns the name of the checkpoint that was offered."""
    (command,) = re.findall(r"(echo .+?) \(then", message)
    subprocess.run(command, shell=True, check=True)
    return shlex.split(command)[1]


@pytest.mark.parametrize(
    "harm",
    [
        flip,
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: (path.parent / "last_checkpoint").write_text(""),
        lambda path: (path.parent / "last_checkpoint").write_text("\n"),
        lambda path: (path.parent / "last_checkpoint").write_bytes(b"\x00\xff"),
        lambda path: (path.parent / "last_checkpoint").write_text("model_0000099.pth"),
        lambda path: (path.parent / "last_checkpoint").write_text("model_best.pth"),
        lambda path: (path.parent / "last_checkpoint").write_text("."),
        lambda path: (path.parent / "last_checkpoint").write_text("weights.safetensors"),
    ],
)
def test_the_newest_good_checkpoint_is_offered_and_following_the_advice_works(folder, whole, harm):
    path = last(folder)
    save_file({"a": torch.ones(1)}, folder / "weights.safetensors")
    harm(path)
    good = path.exists() and has_checksum_and_is_whole(path)
    offered = follow(refused(folder))
    assert offered == (path.name if good else "model_0000002.pth")
    resumed = resume(folder)
    assert resumed.start_iter == (4 if good else 2)
    assert_same_weights(resumed, whole)


def has_checksum_and_is_whole(path: Path) -> bool:
    try:
        verify_checksum(path)
    except ValueError:
        return False
    return has_checksum(path)


def test_where_none_is_good_that_is_said(folder):
    for path in folder.glob("model_*.pth"):
        flip(path)
    message = refused(folder)
    assert "echo" not in message and "output_dir" in message


def test_without_last_checkpoint_the_newest_one_is_taken(folder, caplog):
    (folder / "last_checkpoint").unlink()  # as by a kill right after the first checkpoint
    assert resume(folder).start_iter == 4
    assert "model_0000004.pth" in caplog.text


@pytest.mark.parametrize("harm", [flip, Path.unlink])
def test_a_best_model_that_was_lost_is_not_the_best_any_more(folder, caplog, harm):
    before = torch.load(last(folder), weights_only=True)["trainer"]["hooks"]["Evaluate"]
    assert before["best_score"] > -math.inf
    harm(folder / "model_best.pth")
    resumed = resume(folder)
    assert "model_best.pth" in caplog.text
    best = torch.load(folder / "model_best.pth", weights_only=True)
    assert best["iteration"] == resumed.evaluation.best_iteration >= 4


def test_all_that_a_run_saves_carries_its_checksum(folder):
    resume(folder)
    names = {"model_best.pth", "model_best_ema.pth", "model_0000008.pth"}
    assert names <= {path.name for path in folder.glob("*.pth")}
    assert all(has_checksum_and_is_whole(path) for path in folder.glob("*.pth"))
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_other_readers_read_past_the_checksum(folder):
    from detectron2.checkpoint import DetectionCheckpointer

    model, path = ToyModel(), folder / "model_best.pth"
    DetectionCheckpointer(model).load(str(path))
    for content in (
        torch.load(path, weights_only=True, mmap=True),
        torch.load(path.open("rb"), weights_only=True),
    ):
        assert torch.equal(content["model"][W], model.first.weight)


ODD = {
    "a list": [torch.ones(1)],
    "nothing": None,
    "text": "weights",
    "a number": 3,
    "integer keys": {0: torch.ones(1)},
    "mixed keys": {0: torch.ones(1), "a": torch.ones(1), None: torch.ones(1)},
    "no tensors": {"first.weight": [1.0]},
    "sparse": {"first.weight": torch.ones(8, 4).to_sparse()},
    "meta": {"first.weight": torch.ones(8, 4, device="meta")},
    "quantized": {"first.weight": torch.quantize_per_tensor(torch.ones(8, 4), 1, 0, torch.qint8)},
    "empty": {},
}


def into_a_backbone(model, path):
    read_checkpoint(path, "weights", "")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("load", [load_weights, load_start_weights, into_a_backbone])
def test_odd_dicts_are_sentences(tmp_path, name, load):
    path = tmp_path / "model.pth"
    torch.save({"model": ODD[name]}, path)
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        load(ToyModel(), str(path))
    assert len(str(caught.value)) < 900


def test_weights_come_through_one_door():
    sources = Path(__file__).parents[3].glob("projects/**/*.py")
    readers = {path.name for path in sources if "torch.load(" in path.read_text("utf-8")}
    assert readers == {"weight_files.py"}


@pytest.mark.parametrize("content", [[1], None, 3, torch.ones(1), {}, {1: 2}])
def test_odd_files_are_sentences(tmp_path, content):
    path = tmp_path / "model.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match="no 'model'"):
        load_weights(ToyModel(), path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"nonsense"])
def test_what_detectron2_cannot_read_either_is_a_sentence(tmp_path, content):
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_start_weights(ToyModel(), str(path))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        load_start_weights(ToyModel(), str(path))


def test_a_damaged_best_model_offers_one_that_can_be_evaluated(folder):
    flip(folder / "model_best.pth")
    with pytest.raises(ValueError, match="damaged") as caught:
        load_weights(ToyModel(), folder / "model_best.pth")
    (offered,) = set(re.findall(r"train\.init_checkpoint=(\S+\.pth)", str(caught.value)))
    assert offered.endswith("model_0000004.pth")
    load_start_weights(ToyModel(), offered)


def test_saving_writes_the_archive_once(tmp_path, monkeypatch):
    """No second pass over the file: what is hashed is what is written."""
    RunCheckpointer(ToyModel(), str(tmp_path)).save_weights("model")
    written = (tmp_path / "model.pth").read_bytes()
    torch.save({"model": ToyModel().state_dict()}, tmp_path / "plain.pth")
    plain = (tmp_path / "plain.pth").stat().st_size
    assert 0 < len(written) - plain < 200
