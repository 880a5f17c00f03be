"""Runs of a study on two data sets: each has its tables, pages and files, and none are mixed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from comparison_toys import BASELINE, LR, OFAT, SGD, make_run
from labbook_toys import declare_studies

from labbook.cli import main
from labbook.config.studies import get_study
from labbook.results.runs import on_other_data
from labbook.run.clean import find_removable
from labbook.run.reproduce import find_run

RBC = replace(OFAT, work_folder="work_dirs/rbc")
TRAIN = {"seed": 0, "best_metric": "bbox/AP50", "epochs": 100, "total_batch_size": 8}
LINES = [{"iteration": n, "total_loss": 9.0 - n, "bbox/AP50": 5.0 * n} for n in range(4)]


def make_on_rbc(root: Path, name: str, share: float) -> Path:
    """A run on other data, which it was scored on, too."""
    train = TRAIN | {"output_dir": f"work_dirs/rbc/{name}"}
    facts = {"results": {"data_fingerprint": "e" * 64}, "evaluation": {"annotation_sha256": "b"}}
    return make_run(root, name, share, study=RBC, config={"train": train}, lines=LINES, **facts)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two runs on the study's data, two on others, and one that was set aside."""
    declare_studies(tmp_path, "ofat")
    for name in (BASELINE, LR, SGD):
        (tmp_path / "configs/ofat" / f"{name}.py").touch()
    for name, share in ((BASELINE, 0.5), (LR, 0.6)):
        make_run(tmp_path, name, share, lines=LINES)
    for name, share in ((BASELINE, 0.1), (SGD, 0.2)):
        make_on_rbc(tmp_path, name, share)
    aside = tmp_path / "work_dirs/older" / f"{LR}_failed"
    shutil.copytree(tmp_path / "work_dirs" / LR, aside)
    return tmp_path


def test_each_data_set_has_its_own_table(root: Path, capsys) -> None:
    assert main(["table", "ofat"], root) == 0, capsys.readouterr().err
    own, other = (
        (root / folder / "ofat_table.csv").read_text().splitlines()
        for folder in ("work_dirs", "work_dirs/rbc")
    )
    finished = [[line.split(",")[0] for line in text if "1/1" in line] for text in (own, other)]
    assert finished == [[BASELINE, LR], [BASELINE, SGD]]
    out = capsys.readouterr().out
    assert "study ofat in work_dirs/rbc" in out and "older" not in out
    assert not (root / "work_dirs/older/ofat_table.md").exists()


@pytest.mark.parametrize(
    ("command", "file"), [("analyse", "analysis.md"), ("report", "report.html")]
)
def test_analysis_and_report_do_likewise(root: Path, command: str, file: str, capsys) -> None:
    assert main([command, "ofat"], root) == 0, capsys.readouterr().err
    texts = [(root / f"work_dirs{data}/ofat_{file}").read_text("utf-8") for data in ("", "/rbc")]
    assert ["in work_dirs/rbc" in text for text in texts] == [False, True]
    shutil.rmtree(root / "work_dirs" / BASELINE)
    shutil.rmtree(root / "work_dirs" / LR)
    capsys.readouterr()
    assert main([command, "ofat"], root) == 0, capsys.readouterr().err  # none on its own data
    assert f"work_dirs/rbc/ofat_{file}" in capsys.readouterr().out


def test_runs_on_other_data_are_found_listed_and_cleaned(root: Path, capsys) -> None:
    study = get_study("ofat", root)
    assert [one.work_folder for one in on_other_data(study, root)] == ["work_dirs/rbc"]
    assert find_run(f"rbc/{BASELINE}", root).folder == root / "work_dirs/rbc" / BASELINE
    assert find_run(BASELINE, root).folder == root / "work_dirs" / BASELINE
    assert find_run(SGD, root).folder == root / "work_dirs/rbc" / SGD
    assert main(["list", "ofat"], root) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and sum("work_dirs/rbc/" in line for line in lines) == 2
    folders = {str(path.relative_to(root)) for path in find_removable(study, root).run_folders}
    assert f"work_dirs/rbc/{SGD}" in folders and not any("older" in path for path in folders)


def test_two_runs_on_other_data_are_compared_by_name(root: Path, capsys) -> None:
    names = [f"work_dirs/rbc/{name}" for name in (BASELINE, SGD)]
    assert main(["table", "ofat", "--only", *names], root) == 0, capsys.readouterr().err
