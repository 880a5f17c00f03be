"""The study of published RVTs: their settings, and their checkpoints through the public configs."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pytest
from detectron2.config import instantiate
from loaded_once import load_config
from omegaconf import DictConfig

from boxmetrics.protocols import get_protocol
from eventcam.augment.sequence import RANDOM_ACCESS, STREAMING
from eventcam.class_maps import get_class_map
from eventcam.prepare.folder import prepare_all
from eventcam.prepare.recording import Preparation
from eventcam.published import as_published
from labbook.config.load import to_plain
from labbook.config.studies import find_experiments, get_study
from published_rvt import published_shapes, write_checkpoint
from smalldet.engine.run import run
from toydata.streets import recordings_like

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "rvt"
SIZES = {"base": (64, 32, 0.67), "small": (48, 24, 0.33), "tiny": (32, 32, 0.33)}
SETS = {  # classes, steps of a sequence, batch, learning rate, windows a side, filter
    "gen1": ("gen1_2classes", 21, 8, 2e-4, 1, "prophesee_gen1", "rvt_published_gen1"),
    "gen4": ("gen4_3classes", 5, 24, 3.46e-4, 2, "prophesee", "rvt_published"),
}
NAMES = [f"{data}_{size}" for data in SETS for size in SIZES]
PARAMETERS = {  # as published for 3 classes; each further one adds 3 (width + 1)
    "tiny": (4_405_336, 64),
    "small": (9_870_456, 96),
    "base": (18_536_856, 128),
}


@cache
def loaded(name: str) -> DictConfig:
    return load_config(CONFIGS / f"{name}.py")


def test_the_study_holds_three_sizes_on_two_sets():
    for debug in (False, True):
        assert list(find_experiments(get_study("rvt", ROOT, debug), ROOT)) == NAMES


def as_json(settings) -> str:
    return json.dumps(asdict(settings))


@pytest.mark.parametrize("name", NAMES)
def test_each_has_the_published_settings(name):
    cfg, (data, size) = to_plain(loaded(name)), name.split("_")
    class_map, steps, batch, rate, split, *protocols = SETS[data]
    neck, head = cfg["model"]["backbone"], cfg["model"]["head"]
    rvt = neck["bottom_up"]
    assert (rvt["embed_dim"], rvt["dim_head"], neck["depth"]) == SIZES[size]
    assert instantiate(rvt).partition_split == split and rvt["patch_size"] == 4
    assert head["num_classes"] == len(get_class_map(class_map).classes)
    assert (head["score_threshold"], head["nms_threshold"]) == (0.001, 0.45)
    train, loader = cfg["train"], cfg["dataloader"]
    assert (train["total_batch_size"], train["max_iter"]) == (batch, 400_000)
    assert train["clip_grad_value"] == 1.0 and not train.get("clip_grad_norm")
    assert train["amp"]["enabled"] and train["best_metric"] == f"{protocols[1]}/AP"
    assert cfg["optimizer"]["lr"] == rate and cfg["optimizer"]["weight_decay"] == 0
    assert rate == pytest.approx(2e-4 * math.sqrt(batch / 8), rel=2e-3)
    assert cfg["lr_multiplier"]["num_updates"] == 400_000
    assert loader["sequence_length"] == steps and loader["train"]["num_workers"] == 6
    sampling = instantiate(loader["train"]["sampling"])
    assert (sampling.mode, sampling.random_share) == ("mixed", 0.5)
    drawn = sampling.random_augment, sampling.stream_augment
    assert [as_json(one) for one in drawn] == [as_json(RANDOM_ACCESS), as_json(STREAMING)]
    dataset = instantiate(cfg["dataset"])
    assert dataset.class_map.name == class_map
    assert dataset.downsample == as_published(class_map).downsample
    for split in ("valid", "test"):
        assert cfg["evaluation"][split]["protocols"] == protocols
        assert all(get_protocol(protocol) for protocol in protocols)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("classes", [2, 3])
def test_the_generated_checkpoints_have_the_published_numbers(size, classes):
    shapes = published_shapes(size, classes)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    learned = {name: s for name, s in shapes.items() if not name.endswith(buffers)}
    published, width = PARAMETERS[size]
    expected = published + (classes - 3) * 3 * (width + 1)
    assert sum(math.prod(shape) for shape in learned.values()) == expected
    if size == "tiny":
        assert (len(learned), len(shapes)) == (259, 376)


PUBLISHED = {path.stem: path for path in sorted((CONFIGS / "published").glob("*.py"))}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Holds a data set by class map, generated where it is first asked for."""
    return tmp_path_factory.mktemp("data")


def short(config: Path, folder: Path, data: Path) -> list[str]:
    """Overrides that score a few labelled times of small generated recordings."""
    cfg = load_config(config)
    sizes = "train: 1, val: 1, test: 1, seconds: 0.8, width: 128, height: 96"
    generate = f"_target_: toydata.streets.recordings_like, class_map: {cfg.dataset.class_map}"
    return [
        f"dataset.root={data / cfg.dataset.class_map}",
        f"dataset.generate={{{generate}, {sizes}}}",
        f"model.init_checkpoint={folder / 'rvt.ckpt'}",
        f"train.output_dir={folder / 'run'}",
        "dataloader.valid={num_workers: 0, batch_size: 1, limit: 1}",
        "dataloader.test={num_workers: 0, batch_size: 1, limit: 2}",
    ]


def scored(config: Path, folder: Path, data: Path, shapes, *more: str):
    write_checkpoint(folder / "rvt.ckpt", shapes)
    cfg = load_config(config, [*short(config, folder, data), *more])
    return run(to_plain(cfg), eval_only=True)


def test_there_is_a_config_a_published_checkpoint():
    assert list(PUBLISHED) == sorted([*NAMES, "etram_base"])
    for name, path in PUBLISHED.items():
        assert load_config(path).model.init_checkpoint == f"ckpts/rvt/{name}.ckpt"


@pytest.mark.parametrize("name", ["gen1_tiny", "gen4_small", "etram_base"])
def test_a_published_checkpoint_is_scored_by_the_published_protocol(name, tmp_path, data):
    kind, size = name.split("_")
    classes = 2 if kind == "gen1" else 3
    shapes = published_shapes(size, classes)
    results = scored(PUBLISHED[name], tmp_path, data, shapes)
    protocols = ["prophesee", "etram_published"] if kind == "etram" else SETS[kind][-2:]
    assert {f"{protocol}/AP" for protocol in protocols} < results["test"].keys()
    assert results["test"]["bbox/num_images"] == 2 and results["valid"]["bbox/num_images"] == 1
    log = (tmp_path / "run" / "log.txt").read_text()
    assert f"loaded {len(shapes)} of {len(shapes)} tensors; missing nothing" in log
    assert f"Evaluating {tmp_path / 'rvt.ckpt'}" in log
    assert all(f"Dropped by {protocol}:" in log for protocol in protocols)


def test_a_checkpoint_of_other_classes_is_not_scored(tmp_path, data):
    shapes = published_shapes("tiny", 3)
    with pytest.raises(ValueError, match=r"another shape head\.cls_preds\.0") as caught:
        scored(PUBLISHED["gen1_tiny"], tmp_path, data, shapes)
    assert "config that belongs to it" in str(caught.value)


def test_a_model_with_more_parts_is_not_scored_as_published(tmp_path, data):
    shapes, balanced = published_shapes("tiny", 2), "model.head.balanced_classifier=true"
    with pytest.raises(ValueError, match=r"new in this model head\.abc_preds"):
        scored(PUBLISHED["gen1_tiny"], tmp_path, data, shapes, balanced)


def test_what_was_trained_goes_before_what_the_model_names(tmp_path, data):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model_best.pth").write_bytes(b"of this run")
    with pytest.raises(ValueError, match=r"model_best\.pth cannot be read"):
        scored(PUBLISHED["gen1_tiny"], tmp_path, data, published_shapes("tiny", 2))


@pytest.mark.parametrize(("data", "sensor"), [("gen1", (304, 240)), ("gen4", (1280, 720))])
def test_the_cost_of_a_step_is_measured_at_the_size_of_the_data_set(data, sensor):
    cfg = load_config(CONFIGS / f"{data}_base.py", get_study("rvt", ROOT).generate)
    generator = instantiate(to_plain(cfg.dataset.generate))
    assert (generator.width, generator.height) == sensor
    assert generator.classes == get_class_map(cfg.dataset.class_map).raw


def test_the_test_split_alone_is_enough(tmp_path, data):
    settings = Preparation("gen1_2classes", "none")
    sizes = {"train": 1, "val": 1, "test": 1, "seconds": 0.8, "width": 128, "height": 96}
    raw = data / "gen1_2classes_raw"
    recordings_like("gen1_2classes", **sizes).ensure(raw)
    prepare_all(raw, tmp_path / "gen1_2classes", settings, progress=False)
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / "gen1_2classes" / split)
    write_checkpoint(tmp_path / "rvt.ckpt", published_shapes("tiny", 2))
    config = PUBLISHED["gen1_tiny"]
    words = short(config, tmp_path, tmp_path)
    kept = [word for word in words if not word.startswith(("dataset.gen", "dataloader.v"))]
    with pytest.raises(ValueError, match=r"no prepared recording.* dataloader\.valid=null"):
        run(to_plain(load_config(config, kept)), eval_only=True)
    kept.append("dataloader.valid=null")
    results = run(to_plain(load_config(config, kept)), eval_only=True)
    assert results.keys() == {"test"} and results["test"]["bbox/num_images"] == 2
