"""Cleaning lists, asks, and removes run folders and filtered files, and just those."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from labbook_toys import STUDIES
from PIL import Image

from labbook import cli
from labbook.config.load import load_config, save_config
from labbook.run.clean import find_removable, is_derived, remove
from runfolder.records import finish_record, start_record
from smalldet.data.filter.cache import FILTERED_NAME, SOURCE_NAME, ensure_filtered

STUDY = STUDIES["ofat"]


@pytest.fixture
def lab(tmp_path: Path, write_config: Callable[..., Path]) -> Path:
    """A project with the finished runs ofat_one and ofat_two, and a filtered file of their data."""
    for name in ("one", "two"):
        cfg = load_config(write_config(name), [f"dataset.root={tmp_path / 'data'}"])
        folder = tmp_path / "work_dirs" / f"ofat_{name}"
        save_config(cfg, folder)
        start_record(folder, [])
        finish_record(folder, "finished", "done")
        (folder / "evaluation" / "valid").mkdir(parents=True)
        facts = {"annotation_file": FILTERED_NAME}
        (folder / "evaluation" / "valid" / "evaluation.json").write_text(json.dumps(facts))
    split = tmp_path / "data" / "train"
    split.mkdir(parents=True)
    (split / "image.jpg").touch()
    (split / SOURCE_NAME).write_text("{}")
    info = {"source": SOURCE_NAME, "filter_report": {}}
    (split / FILTERED_NAME).write_text(json.dumps({"info": info}))
    return tmp_path


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.name != ".lock"}


def test_a_real_filtered_file_is_derived_and_its_source_is_not(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    image = {"id": 1, "file_name": "a.png", "width": 8, "height": 8}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3], "area": 9, "iscrowd": 0}
    content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "head"}]}
    (tmp_path / SOURCE_NAME).write_text(json.dumps(content))
    assert is_derived(ensure_filtered(tmp_path, ["head"]).path)
    assert not is_derived(tmp_path / SOURCE_NAME)


@pytest.mark.parametrize("text", ["\n", "n\n", "nonsense\n", ""])
def test_nothing_goes_without_a_yes(lab, monkeypatch, capsys, text):
    before = files(lab)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))  # "": nobody is there
    assert cli.main(["clean", "ofat"], lab) == 0
    out = capsys.readouterr().out
    assert "work_dirs/ofat_one\n" in out and f"data/train/{FILTERED_NAME}" in out
    assert "Remove these 3 for good?" in out and "Nothing was removed" in out
    assert files(lab) == before


def test_yes_removes_what_was_listed_and_just_that(lab, monkeypatch):
    work = lab / "work_dirs"
    (work / "notes").mkdir()
    (work / "notes" / "ideas.txt").write_text("keep")
    (work / "ofat_table.md").write_text("keep")
    shutil.copytree(work / "ofat_one", work / "older" / "ofat_one_0123456")
    kept = {name for name in files(lab) if "ofat_one" not in name and "ofat_two" not in name}
    kept |= {name for name in files(lab) if name.startswith("work_dirs/older")}
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert cli.main(["clean", "ofat"], lab) == 0
    assert files(lab) == kept - {f"data/train/{FILTERED_NAME}"}
    assert cli.main(["clean", "ofat"], lab) == 0


def test_only_one_experiment_leaves_the_data_of_the_others(lab):
    assert cli.main(["clean", "ofat", "--only", "one", "--yes"], lab) == 0
    assert not (lab / "work_dirs" / "ofat_one").exists()
    assert (lab / "work_dirs" / "ofat_two").exists()
    assert (lab / "data" / "train" / FILTERED_NAME).exists()


def test_links_and_foreign_folders_are_left_alone(lab):
    work = lab / "work_dirs"
    (work / "ofat_two").rename(lab / "elsewhere")
    (work / "ofat_two").symlink_to(lab / "elsewhere")
    (work / "ofat_one" / "link").symlink_to(lab / "data")
    shutil.copytree(lab / "elsewhere", work / "only_a_config")
    (work / "only_a_config" / "run.json").unlink()
    shutil.copytree(lab / "elsewhere", work / "holds_another" / "inner")
    shutil.copy(lab / "elsewhere" / "config.yaml", work / "holds_another")
    shutil.copy(lab / "elsewhere" / "run.json", work / "holds_another")
    found = find_removable(STUDY, lab)
    assert found.run_folders == [work / "ofat_one"]
    assert {path.name: reason for path, reason in found.kept.items()} == {
        "ofat_two": "it is a link to another folder",
        "only_a_config": "it is no run folder, it has no run.json",
        "holds_another": "it holds other runs",
        "link": "no run writes such a file",
    }
    assert remove(found) == []
    assert (lab / "elsewhere" / "run.json").exists() and (lab / "data" / "train").exists()


def test_a_running_run_and_its_data_are_never_removed(lab):
    before = find_removable(STUDY, lab)
    start_record(lab / "work_dirs" / "ofat_one", [])
    found = find_removable(STUDY, lab)
    assert found.run_folders == [lab / "work_dirs" / "ofat_two"] and not found.derived_files
    assert set(found.kept.values()) == {"it is running", "a running run reads it"}
    (problem,) = remove(before)  # it has started after the list was made
    assert problem.endswith("ofat_one was left alone: it is running.")
    assert (lab / "work_dirs" / "ofat_one" / "evaluation").exists()
    assert not (lab / "work_dirs" / "ofat_two").exists()


@pytest.mark.parametrize("harm", ["no source", "not ours", "no JSON", "a link", "a list"])
def test_a_file_that_cannot_be_built_again_stays(lab, harm):
    path = lab / "data" / "train" / FILTERED_NAME
    if harm == "no source":
        path.with_name(SOURCE_NAME).unlink()
    elif harm == "a link":
        path.rename(lab / "mine.json")
        path.symlink_to(lab / "mine.json")
    else:
        path.write_text({"not ours": '{"info": {}}', "no JSON": "{", "a list": "[]"}[harm])
    assert find_removable(STUDY, lab).derived_files == []
    assert cli.main(["clean", "ofat", "--yes"], lab) == 0
    assert path.exists()


def test_files_that_no_run_writes_are_listed_and_kept(lab, capsys):
    folder = lab / "work_dirs" / "ofat_one"
    mine = [folder / "notes.md", folder / "evaluation/valid/figure.png", folder / "model.txt"]
    for path in mine:
        path.write_text("mine")
    (folder / "linked").symlink_to(lab / "data" / "train" / "image.jpg")
    (folder / "model_best.pth").write_text("weights")
    assert cli.main(["clean", "ofat", "--yes"], lab) == 0
    out = capsys.readouterr().out
    assert out.count("no run writes such a file") == 4 and "ofat_one/notes.md" in out
    left = {name for name in files(folder) if not (folder / name).is_dir()}
    assert left == {"notes.md", "evaluation/valid/figure.png", "model.txt", "linked"}
    assert not (lab / "work_dirs" / "ofat_two").exists()
    assert (lab / "data" / "train" / "image.jpg").exists()


def test_what_an_interrupted_removal_leaves_is_found_again(lab, monkeypatch):
    folder = lab / "work_dirs" / "ofat_one"
    genuine = Path.rmdir

    def interrupted(path: Path) -> None:
        genuine(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rmdir", interrupted)
    with pytest.raises(KeyboardInterrupt):
        remove(find_removable(STUDY, lab))
    assert not (folder / "evaluation" / "valid").exists()
    assert folder in find_removable(STUDY, lab).run_folders
