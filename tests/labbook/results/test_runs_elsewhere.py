"""Run folders that are not the study's own: named by their paths, they get rows like the others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from comparison_toys import BASELINE, LR, OFAT, make_run
from labbook_toys import declare_studies

from labbook.cli import main
from labbook.report.page import write_report
from labbook.results.collect import collect
from labbook.results.training import analyse

LINES = [{"iteration": n, "total_loss": 9.0 - n, "bbox/AP50": 5.0 * n} for n in range(4)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with two runs, beside folders of another machine."""
    root = tmp_path / "project"
    declare_studies(root, "ofat")
    (root / "configs/ofat" / f"{LR}.py").touch()
    for name, share in ((BASELINE, 0.5), (LR, 0.6)):
        make_run(root, name, share, lines=LINES)
    return root


@pytest.fixture
def plain(tmp_path: Path, root: Path) -> Path:
    """A run that declares no experiment."""
    folder = make_run(tmp_path, "any", 0.7, folder="mine", lines=LINES)
    config = (folder / "config.yaml").read_text().partition("train:")
    (folder / "config.yaml").write_text("".join(config[1:]))
    return folder


def test_a_plain_run_gets_a_row_beside_the_studys(root: Path, plain: Path) -> None:
    results = collect(OFAT, root, [BASELINE, LR], [LR, BASELINE, str(plain)])
    assert list(results.experiments.index) == [BASELINE, LR, "mine"]
    assert results.experiments["valid bbox/AP50"].notna().all()
    assert set(results.differences["title"]) == {LR}  # the others are compared with nothing
    alone = collect(OFAT, root, [BASELINE, LR], [f"{plain}/"])
    assert list(alone.runs["run"].map(lambda run: run.folder)) == [plain]
    assert "mine" not in collect(OFAT, root).experiments.index


def test_a_copy_of_a_run_keeps_its_place_beside_the_run(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup" / LR
    shutil.copytree(root / "work_dirs" / LR, copy)
    results = collect(OFAT, root, [], [BASELINE, LR, str(copy)])
    title = f"{LR} ({copy})"
    assert list(results.experiments.index) == [BASELINE, LR, title]
    assert results.experiments.at[title, "runs"][0].folder == copy
    assert set(results.differences["title"]) == {LR, title}
    page = write_report(results, root)[0]
    assert "../../backup" in page.read_text("utf-8")
    folders = analyse(OFAT, root, [str(copy), LR]).runs.index
    assert sorted(folders) == sorted([str(copy), LR])


def test_a_folder_of_the_study_may_be_named_by_its_path(root: Path, monkeypatch) -> None:
    monkeypatch.chdir(root / "work_dirs")
    for name in (f"work_dirs/{LR}", str(root / "work_dirs" / LR), f"{LR}/", f"./{LR}", LR):
        assert list(collect(OFAT, root, [], [name]).experiments.index) == [LR]


@pytest.mark.parametrize("command", ["table", "analyse", "report"])
def test_the_commands_take_paths_with_any_name(
    root: Path, plain: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = plain.rename(plain.with_name("lr=0.01"))
    assert main([command, "ofat", "--only", str(odd)], root) == 0
    assert main([command, "ofat", "--only", str(odd.with_name("lr=0.02"))], root) == 2
    assert "lr=0.02" in capsys.readouterr().err


def test_a_damaged_folder_is_a_row_that_says_so(root: Path, plain: Path) -> None:
    (plain / "config.yaml").write_text("]")
    (run,) = collect(OFAT, root, [], [str(plain)]).runs.itertuples()
    assert (run.folder, run.status) == ("mine", "unreadable")
