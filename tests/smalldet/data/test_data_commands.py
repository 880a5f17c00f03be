"""The two commands in datasets/: thin, and honest when they fail."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

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
