"""The two commands in datasets/: thin, and honest when they fail."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from coco_folders import write_data_set

from console.main import main
from smalldet.data.filter.cache import SOURCE_NAME
from smalldet.data.splits import CocoSplits

DATASETS = Path(__file__).parents[3] / "datasets"


def call(script: str, *arguments: str) -> int:
    return runpy.run_path(str(DATASETS / script))["main"](list(arguments))


def test_generate_then_register(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = str(tmp_path / "painted heads")
    sizes = ["--train", "3", "--valid", "2", "--test", "1", "--image-size", "96"]
    assert call("make_head_dataset.py", "--root", root, *sizes) == 0
    assert "train.images=3" in capsys.readouterr().out
    assert call("register_custom_coco.py", "--data-root", root) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split() == ["images", "kept", "3", "2", "1"]
    assert f"'dataset.root='\"'\"'{root}'\"'\"''" in out and "train.images=3" in out
    merge = ["--classes", "face", "--merge", "face=head,heads", "--image-size", "96"]
    assert call("register_custom_coco.py", "--data-root", root, *merge) == 1  # no class "heads"
    assert "Did you mean 'head'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("register_custom_coco.py", ["--data-root", "nothing/here"]),
        ("make_head_dataset.py", ["--root", "nowhere", "--train", "0"]),
    ],
)
def test_a_failure_is_one_sentence_and_a_status(
    script: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(script, *arguments) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_the_doctor_names_what_training_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = write_data_set(tmp_path / "odd")
    picture, source = root / "train/0.png", root / "train" / SOURCE_NAME
    picture.write_bytes(picture.read_bytes()[:-200])
    content = json.loads(source.read_text())
    content["annotations"][1] |= {"iscrowd": "0", "bbox": ["4", 5, 10, 12]}
    content["annotations"][2]["bbox"] = "1234"
    source.write_text(json.dumps(content))
    assert main(["doctor", "data", "--data-root", str(root)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    counts = {"images cut short", "boxes as text", "flags as text", "boxes malformed"}
    assert all([*name.split(), "1", "0", "0"] in lines for name in counts)
    reported = CocoSplits(str(root)).findings()["train"]
    assert {name.replace(" ", "_") for name in counts} <= reported.keys()
    source.write_text("[" * 100_000)
    assert main(["doctor", "data", "--data-root", str(root)]) == 1
    assert SOURCE_NAME in capsys.readouterr().err
