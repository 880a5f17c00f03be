"""CocoSplits: registration, naming, the layout's errors, and the checks before training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from coco_folders import write_data_set
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from omegaconf import OmegaConf

from smalldet.data.checks import check_classes, check_image_count
from smalldet.data.errors import DataError
from smalldet.data.splits import SPLITS, CocoSplits, default_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_data_set(tmp_path / "my coco é")


def test_registering_twice_changes_nothing(root: Path) -> None:
    names = CocoSplits(str(root)).register()
    assert CocoSplits(str(root)).register() == names
    assert list(names) == list(SPLITS)
    metadata = MetadataCatalog.get(names["train"])
    assert metadata.thing_classes == ["head"]
    assert metadata.thing_dataset_id_to_contiguous_id == {1: 0}
    assert DatasetCatalog.get(names["valid"]) == CocoSplits(str(root)).dicts("valid")


def test_dicts_are_detectron2_entries(root: Path) -> None:
    records = CocoSplits(str(root)).dicts("train")
    assert [record["image_id"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert all(Path(record["file_name"]).is_file() for record in records)
    assert records[0]["annotations"] == [
        {"bbox": [4, 5, 10, 12], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 0}
    ]
    assert records[2]["annotations"] == []


def test_names_differ_by_folder_and_classes(root: Path, tmp_path: Path) -> None:
    other = shutil.copytree(root, tmp_path / "other" / root.name)
    sets = [
        CocoSplits(str(root)),
        CocoSplits(str(other)),
        CocoSplits(str(root), ("heads-detection", "head")),
    ]
    assert len({dataset.name("train") for dataset in sets}) == 3
    assert CocoSplits(f"{root}/../{root.name}").name("test") == sets[0].name("test")


def test_changed_files_under_a_registered_name_are_a_sentence(root: Path) -> None:
    CocoSplits(str(root)).register()
    (root / "train" / "5.png").unlink()
    with pytest.raises(DataError, match=r"already registered, from .* differs in filtered_sha256"):
        CocoSplits(str(root)).register()


def test_a_name_taken_by_others_is_a_sentence(root: Path) -> None:
    dataset = CocoSplits(str(root))
    DatasetCatalog.register(dataset.name("train"), list)
    with pytest.raises(DataError, match="already registered, from somewhere else"):
        dataset.register()


def test_config_values_may_be_omegaconf_nodes(root: Path) -> None:
    node = OmegaConf.create({"classes": ["head"]})
    dataset = CocoSplits(str(root), node.classes)
    assert dataset.classes == ("head",)
    assert CocoSplits(str(root), "head").classes == ("head",)


def test_the_fingerprint_follows_content_not_place(root: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(root, tmp_path / "copy"))
    first = CocoSplits(str(root)).fingerprint()
    assert CocoSplits(str(other)).fingerprint() == first
    (other / "valid" / "1.png").unlink()
    assert CocoSplits(str(other)).fingerprint() != first


def test_negatives_are_left_out_of_training_only(root: Path) -> None:
    dataset = CocoSplits(str(root), keep_negatives=False)
    assert len(dataset.dicts("train")) == 4
    assert len(dataset.dicts("valid")) == 3
    check_image_count(dataset, 4)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("valid", r"has no valid/_annotations.* \(found there: test, train\)"),
        ("test/_annotations.coco.json", r"has no test/_.* with 2 files: 0.png, 1.png"),
        ("", r"has no train/_.*does not exist, seen from"),
    ],
)
def test_a_missing_part_names_the_layout(root: Path, remove: str, message: str) -> None:
    path = root / remove
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=rf"{message}.*Expected layout: ROOT/train"):
        CocoSplits(str(root)).register()


def test_an_unknown_split_is_a_sentence(root: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'; the splits are train, valid, test"):
        CocoSplits(str(root)).dicts("val")


def test_the_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert default_root() == Path("datasets/coco")
    monkeypatch.setenv("DETECTRON2_DATASETS", "/data")
    assert default_root("heads") == Path("/data/heads")


def test_the_image_count_is_compared(root: Path) -> None:
    check_image_count(CocoSplits(str(root)), 6)
    with pytest.raises(DataError, match=r"counts on 1271 .* has 6 .*pass train.images=6"):
        check_image_count(CocoSplits(str(root)), 1271)


def test_head_classes_and_ids_are_compared(root: Path) -> None:
    check_classes(CocoSplits(str(root)), 1)
    with pytest.raises(DataError, match=r"head predicts 80 classes.* has 1 \(head\)"):
        check_classes(CocoSplits(str(root)), 80)


def test_foreign_ids_in_the_filtered_file_are_a_sentence(root: Path) -> None:
    dataset = CocoSplits(str(root))
    dataset.filtered("valid").content["categories"][0]["id"] = 3
    with pytest.raises(DataError, match=r"lists the categories \[\(3, 'head'\)\]"):
        check_classes(dataset, 1)


def test_changed_metadata_is_a_sentence(root: Path) -> None:
    dataset = CocoSplits(str(root))
    names = dataset.register()
    MetadataCatalog.get(names["train"]).thing_classes[0] = "person"
    with pytest.raises(DataError, match="thing_classes"):
        check_classes(dataset, 1)
