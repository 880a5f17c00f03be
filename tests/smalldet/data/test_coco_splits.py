"""CocoSplits: registration, naming, the layout's errors, and the checks before training."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from coco_folders import write_data_set
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from omegaconf import OmegaConf

from smalldet.data.catalog import records_of, register
from smalldet.data.errors import DataError
from smalldet.data.filter.cache import FILTERED_NAME, SOURCE_NAME
from smalldet.data.splits import SPLITS, CocoSplits, default_root
from smalldet.evaluation.coco import CocoBoxEvaluator


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A data set; what the test registers is forgotten afterwards."""
    before = set(DatasetCatalog.list())
    yield write_data_set(tmp_path / "my coco é")
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)


def test_registering_twice_changes_nothing(root: Path) -> None:
    names = register(CocoSplits(str(root)))
    assert names == {split: f"my coco é_{split}" for split in SPLITS}
    assert register(CocoSplits(str(root))) == names
    metadata = MetadataCatalog.get(names["train"])
    assert metadata.thing_classes == ["head"]
    assert metadata.thing_dataset_id_to_contiguous_id == {1: 0}
    assert DatasetCatalog.get(names["valid"]) == CocoSplits(str(root)).records("valid")


def test_findings_are_those_of_the_filter(root: Path) -> None:
    assert CocoSplits(str(root)).findings() == {}
    picture = root / "train/1.png"
    picture.write_bytes(picture.read_bytes()[:-100])
    found = CocoSplits(str(root)).findings()
    assert found == {"train": {"images_cut_short": 1, "annotations_of_left_out_images": 1}}


def test_records_are_detectron2_entries(root: Path) -> None:
    records = CocoSplits(str(root)).records("train")
    assert [record["image_id"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert all(Path(record["file_name"]).is_file() for record in records)
    mode, box = BoxMode.XYWH_ABS, [4, 5, 10, 12]
    assert records[0]["annotations"] == [
        {"bbox": box, "bbox_mode": mode, "category_id": 0, "iscrowd": 0, "area": 120}
    ]
    assert records[2]["annotations"] == []


def test_each_file_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    really = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(str(path)), really(path))[1])
    dataset = CocoSplits(str(root))
    register(dataset)
    dataset.check({"model": 1}, 6)
    dataset.fingerprint()
    for name in register(dataset).values():
        CocoBoxEvaluator(name)
        assert records_of(name) is records_of(name)
    assert sorted(read) == sorted(
        str(root / split / name) for split in SPLITS for name in (SOURCE_NAME, FILTERED_NAME)
    )


def test_one_name_for_two_data_sets_is_a_sentence(root: Path, tmp_path: Path) -> None:
    register(CocoSplits(str(root)))
    other = shutil.copytree(root, tmp_path / "other" / root.name)
    (other / "train" / "5.png").unlink()
    with pytest.raises(DataError, match=r"already registered, from .* another dataset.name"):
        register(CocoSplits(str(other)))
    with pytest.raises(DataError, match="differs in thing_classes"):
        register(CocoSplits(str(root), ("heads-detection", "head")))
    assert register(CocoSplits(str(other), name="elsewhere"))["test"] == "elsewhere_test"


def test_changed_files_or_metadata_under_a_registered_name_are_a_sentence(root: Path) -> None:
    names = register(CocoSplits(str(root)))
    (root / "train" / "5.png").unlink()
    with pytest.raises(DataError, match=r"already registered.* differs in annotation_sha256"):
        register(CocoSplits(str(root)))
    MetadataCatalog.get(names["train"]).thing_classes[0] = "person"
    with pytest.raises(DataError, match="thing_classes"):
        register(CocoSplits(str(root)))


def test_a_name_taken_by_others_is_a_sentence(root: Path) -> None:
    DatasetCatalog.register(f"{root.name}_train", list)
    with pytest.raises(DataError, match="already registered, from somewhere else"):
        register(CocoSplits(str(root)))


def test_an_unknown_name_or_split_is_a_sentence_with_the_others(root: Path) -> None:
    register(CocoSplits(str(root)))
    with pytest.raises(DataError, match="registered as 'my coco é_val', but my coco é_valid"):
        records_of("my coco é_val")
    with pytest.raises(DataError, match="no split 'val'; the splits are train, valid, test"):
        CocoSplits(str(root)).records("val")


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


def test_a_merge_is_part_of_the_data_set(root: Path) -> None:
    plain = CocoSplits(str(root)).fingerprint()
    node = OmegaConf.create({"merge": {"head": ["head", "heads-detection"]}})
    dataset = CocoSplits(str(root), merge=node.merge)
    assert dataset.fingerprint() != plain
    assert dataset.merge == {"head": ["head", "heads-detection"]}
    assert CocoSplits(str(root), merge={}).fingerprint() == plain
    with pytest.raises(DataError, match="not one of"):
        CocoSplits(str(root), merge={"person": ["head"]})


def test_negatives_are_left_out_of_training_only(root: Path) -> None:
    dataset = CocoSplits(str(root), keep_negatives=False)
    assert len(dataset.records("train")) == 4
    assert len(dataset.records("valid")) == 3
    dataset.check({}, 4)


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
        register(CocoSplits(str(root)))


def test_the_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert default_root() == Path("datasets/coco")
    monkeypatch.setenv("DETECTRON2_DATASETS", "/data")
    assert default_root("heads") == Path("/data/heads")


def test_image_count_and_heads_are_compared(root: Path) -> None:
    dataset = CocoSplits(str(root))
    dataset.check({"model": 1, "model.head": 1}, 6)
    with pytest.raises(DataError, match=r"counts on 1271 .* has 6 .*pass train.images=6"):
        dataset.check({}, 1271)
    with pytest.raises(DataError, match=r"80 classes \(model.head.num_classes\).* has 1 \(head\)"):
        dataset.check({"model": 1, "model.head": 80}, 6)


def test_foreign_ids_in_the_filtered_file_are_a_sentence(root: Path) -> None:
    dataset = CocoSplits(str(root))
    dataset.filtered("valid").content["categories"][0]["id"] = 3
    with pytest.raises(DataError, match=r"lists the categories \[\(3, 'head'\)\]"):
        dataset.check({}, 6)
