"""The eTraM ladder: the study's table, one declared step from each parent, and what follows."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from detectron2.config import instantiate
from loaded_once import load_config
from omegaconf import DictConfig, OmegaConf

import smalldet
from boxmetrics.slices import size_thresholds
from eventcam.class_maps import get_class_map
from eventcam.dataset import EventRecordings
from eventcam.labels import LabelFilter, boxes_xyxy, scale_boxes
from eventcam.prepare.label_frames import schedule
from eventcam.representations import get_representation
from labbook.config.experiment import is_met
from labbook.config.load import diff_configs, save_config, to_plain
from labbook.config.resume import check_same_config, config_changes, is_measured
from labbook.config.studies import find_experiments, get_study
from labbook.run.ledger import entry_of
from smalldet.engine.run import run
from smalldet.engine.weights import load_weights
from smalldet.losses.size_aware import compute_size_weights, proposed_thresholds
from toydata.streets import GeneratedRecordings
from toydata.streets.recording import generate_recording

ROOT = Path(__file__).resolve().parents[2]
RATE = 2e-4 * (6 / 8) ** 0.5  # the published rule at batch 6


class Rung(NamedTuple):
    """A row of the study's table."""

    parent: str | None
    scales: int = 3
    patch: int = 4
    weight: float | None = None  # of small objects; None: no size-aware loss
    attention: bool = False
    batch: int = 6
    rate: float = RATE
    decay: float = 0.0
    steps: int = 100_000
    also: dict[str, Any] = {}  # noqa: RUF012  (nobody writes to it)


SIZEAWARE, PATCH2 = "3scale_sizeaware_100k", "patch2_sizeaware_100k"
LADDER = {
    "baseline_3scale_100k": Rung(None),
    "4scale_100k": Rung("baseline_3scale_100k", scales=4),
    SIZEAWARE: Rung("baseline_3scale_100k", weight=2.0),
    "4scale_sizeaware_100k": Rung("4scale_100k", scales=4, weight=2.5),
    "3scale_sizeaware_attention_100k": Rung(
        SIZEAWARE, weight=2.0, attention=True, rate=0.001, decay=0.0005
    ),
    PATCH2: Rung(SIZEAWARE, patch=2, weight=2.0, batch=2),
    "patch2_4scale_sizeaware_200k": Rung(
        PATCH2, scales=4, patch=2, weight=2.0, batch=2, steps=200_000
    ),
    "3scale_sizeaware_datadriven_100k": Rung(SIZEAWARE, weight=2.0, also={"small_threshold": ANY}),
    "3scale_sizeaware_sumpool_100k": Rung(SIZEAWARE, weight=2.0, also={"downsample": "sum"}),
    "3scale_sizeaware_rescue_100k": Rung(SIZEAWARE, weight=2.0, also={"rescue_unmatched": True}),
    "3scale_sizeaware_cls_100k": Rung(
        SIZEAWARE, weight=2.0, also={"size_aware_terms": ["iou", "classification"]}
    ),
    "3scale_sizeaware_focal_100k": Rung(
        SIZEAWARE, weight=2.0, also={"classification_loss": "focal"}
    ),
    "3scale_sizeaware_abc_100k": Rung(SIZEAWARE, weight=2.0, also={"balanced_classifier": True}),
    "3scale_sizeaware_nwd_100k": Rung(
        SIZEAWARE, weight=2.0, also={"iou_loss": "nwd", "assignment_metric": "nwd"}
    ),
    "3scale_sizeaware_giou_100k": Rung(SIZEAWARE, weight=2.0, also={"iou_loss": "giou"}),
    "3scale_sizeaware_diou_100k": Rung(SIZEAWARE, weight=2.0, also={"iou_loss": "diou"}),
    "3scale_sizeaware_ciou_100k": Rung(SIZEAWARE, weight=2.0, also={"iou_loss": "ciou"}),
    "baseline_3scale_voxel_100k": Rung("baseline_3scale_100k", also={"representation": "voxel"}),
}
VARIANTS = {  # not rungs: embed_dim, dim_head, depth
    "baseline_3scale_100k_tiny": (32, 32, 0.33),
    "baseline_3scale_100k_small": (48, 24, 0.33),
}
LOW_MEMORY = {f"{name}_low_memory": name for name in LADDER if name.startswith("patch2")}
TARGETS = {
    "4scale_sizeaware_100k": {"bbox/AP-small-classes": 20, "bbox/AP": 35},
    "patch2_4scale_sizeaware_200k": {
        "bbox/AP-small-classes": 18,
        "bbox/AP": 25,
        "final_loss": 3.5,
    },
}
USUAL = {
    "small_threshold": 1024,
    "medium_threshold": 9216,
    "downsample": "nearest",
    "representation": "histogram",
    "rescue_unmatched": False,
    "size_aware_terms": ["iou"],
    "iou_loss": "iou",
    "classification_loss": "bce",
    "assignment_metric": "iou",
    "balanced_classifier": False,
}
SHIPPED_THRESHOLD = 1274  # tools/tune_thresholds.py --write puts your own data's there


@cache
def loaded(name: str, folder: str = "etram") -> DictConfig:
    return load_config(ROOT / "configs" / folder / f"{name}.py")


def test_the_study_holds_the_ladder_in_its_order_and_the_variants():
    found = find_experiments(get_study("etram", ROOT), ROOT)
    assert list(found) == [*LADDER, *VARIANTS, *LOW_MEMORY]
    assert list(find_experiments(get_study("etram", ROOT, debug=True), ROOT)) == list(found)


@pytest.mark.parametrize("name", LADDER)
def test_each_rung_is_a_row_of_the_table(name):
    cfg, rung = loaded(name), LADDER[name]
    assert cfg.experiment.parent == (rung.parent and f"etram_{rung.parent}")
    neck, head, train = cfg.model.backbone, cfg.model.head, cfg.train
    assert neck.in_stages == [2, 3, 4][-rung.scales :] or neck.in_stages == [1, 2, 3, 4]
    assert len(neck.in_stages) == rung.scales
    assert neck.bottom_up.patch_size == rung.patch
    assert head.size_aware_loss is (rung.weight is not None)
    assert head.size_aware_weight == (rung.weight or 2.0)
    assert neck.enable_small_object_attention is rung.attention
    assert (train.total_batch_size, train.max_iter) == (rung.batch, rung.steps)
    assert cfg.optimizer.lr == pytest.approx(rung.rate, rel=1e-7)
    assert cfg.optimizer.weight_decay == rung.decay
    values = {key: getattr(cfg.dataset if key in cfg.dataset else head, key) for key in USUAL}
    assert values == USUAL | rung.also
    bins = get_representation(values["representation"])(1, 1).shape[0]
    assert neck.bottom_up.in_channels == bins


@pytest.mark.parametrize("name", [*LADDER, *VARIANTS])
def test_what_all_have_in_common(name):
    cfg = loaded(name)
    size = (64, 32, 0.67) if name in LADDER else VARIANTS[name]
    backbone = cfg.model.backbone.bottom_up
    assert (backbone.embed_dim, backbone.dim_head, cfg.model.backbone.depth) == size
    assert (cfg.model.head.weight_type, cfg.model.head.num_classes) == ("exponential", 8)
    assert cfg.dataset.class_map == "etram_cls8"
    train, valid, test = (cfg.dataloader[split] for split in ("train", "valid", "test"))
    assert train.sampling.mode == "streaming"
    assert (train.num_workers, valid.num_workers, test.num_workers) == (4, 3, 3)
    assert valid.batch_size == test.batch_size == 2
    assert cfg.experiment.name == f"etram_{name}"
    assert cfg.train.output_dir == f"work_dirs/etram_{name}"
    assert cfg.experiment.targets == TARGETS.get(name, {})
    # One cycle over the real number of steps, also behind overrides.
    assert cfg.lr_multiplier.num_updates == cfg.train.max_iter
    multiplier = instantiate(to_plain(cfg.lr_multiplier))
    peak = int(0.005 * cfg.train.max_iter) - 1
    assert multiplier(peak / cfg.train.max_iter) == pytest.approx(1.0)


@pytest.mark.parametrize("name", LOW_MEMORY)
def test_patch_2_fits_less_memory_by_these_settings_alone(name):
    cfg, usual = loaded(name), loaded(LOW_MEMORY[name])
    found = {key: new for key, (_, new) in diff_configs(usual, cfg).items() if is_measured(key)}
    sizes = {f"{key}.micro_batch_size": 1 for key in ("train", "dataloader.train")}
    assert found == sizes  # what an evaluation takes at once changes no score
    assert cfg.dataloader.valid.batch_size == cfg.dataloader.test.batch_size == 1
    assert cfg.model.backbone.bottom_up.checkpoint and not usual.model.backbone.bottom_up.checkpoint
    workers = [cfg.dataloader[split].num_workers for split in ("train", "valid", "test")]
    assert workers == [2, 1, 1] and cfg.experiment.parent == usual.experiment.name
    assert cfg.experiment.targets == TARGETS.get(LOW_MEMORY[name], {})


STUDY_NAMES = {  # group and name on Weights & Biases
    "4scale_sizeaware_100k": "4scale_sizeaware",
    "patch2_4scale_sizeaware_200k": "patch2_4scale_sizeaware",
    "baseline_3scale_100k_tiny": "baseline_3scale_tiny",
}


@pytest.mark.parametrize("name", STUDY_NAMES)
def test_names_of_the_study_on_weights_and_biases(name):
    train = to_plain(loaded(name))["train"]
    names = train["project_name"], train["group_name"], train["experiment_id"]
    assert names == ("etram_size_aware", STUDY_NAMES[name], name)
    toy = to_plain(loaded(name, "debug/etram"))["train"]
    assert toy["project_name"] != "etram_size_aware" and toy["experiment_id"] == name


def test_names_on_weights_and_biases_change_no_identity(tmp_path):
    path = ROOT / "configs" / "etram" / "4scale_sizeaware_100k.py"
    renamed = ["wandb=true", "project_name=mine", "group_name=a", "experiment_id=b"]
    other = load_config(path, [f"train.{override}" for override in renamed])
    assert entry_of(other) == entry_of(loaded(path.stem))
    save_config(loaded(path.stem), tmp_path)
    check_same_config(other, tmp_path)


def test_targets_of_a_loss_are_met_from_below():
    assert is_met("bbox/AP", 35.1, 35.0) and not is_met("bbox/AP", 35.0, 35.0)
    assert is_met("final_loss", 3.4, 3.5) and not is_met("final_loss", 5.18, 3.5)
    assert is_met("bbox/AP", None, 35.0) is None


def test_the_threshold_from_data_names_its_source():
    cfg = loaded("3scale_sizeaware_datadriven_100k")
    assert cfg.experiment.factors == ["model.head.small_threshold"]  # the one that acts
    assert cfg.model.head.weight_type == "exponential"
    assert re.fullmatch(r"upper tercile of [\d,]+ boxes: .+", cfg.experiment.level)
    if cfg.model.head.small_threshold == SHIPPED_THRESHOLD:
        assert "generated" in cfg.experiment.level


def test_the_shipped_threshold_is_that_of_the_generator_of_today():
    """``datasets/make_event_dataset.py RAW --width 1280 --height 720``; its labels are enough."""
    cfg = loaded("3scale_sizeaware_datadriven_100k")
    street = GeneratedRecordings(width=1280, height=720)
    areas = np.concatenate([areas_of(street, number) for number in range(street.train)])
    assert f" {len(areas):,} boxes" in cfg.experiment.level
    head = cfg.model.head
    proposed = proposed_thresholds(size_thresholds(areas), head.size_aware_weight, head.weight_type)
    assert proposed == {"small_threshold": SHIPPED_THRESHOLD}
    tensor, weight = torch.from_numpy(areas), head.size_aware_weight
    shares = [
        float((compute_size_weights(tensor, weight, small) > 1.1).double().mean())
        for small in (SHIPPED_THRESHOLD, loaded(SIZEAWARE).model.head.small_threshold)
    ]
    assert shares[0] > shares[1]  # data-driven does not mean fewer


def areas_of(street: GeneratedRecordings, number: int) -> np.ndarray:
    """Areas of the boxes that are trained on, px² at half resolution."""
    labels = generate_recording(street, [street.seed, 0, number])[1]
    kept, _ = get_class_map("etram_cls8").apply(labels)
    kept = kept[np.isin(kept["t"], schedule(kept["t"]).frames_us)]
    kept, _ = LabelFilter().apply(kept, street.width, street.height, train=True)
    boxes = boxes_xyxy(scale_boxes(kept, 0.5, street.width, street.height)[0]).astype(float)
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


@pytest.mark.parametrize("name", LADDER)
def test_toy_versions_keep_the_factors_and_stay_apart(name):
    cfg, real = loaded(name, "debug/etram"), loaded(name)
    assert cfg.train.output_dir == f"work_dirs/debug/{real.experiment.name}"
    assert cfg.experiment.study == "etram-debug" and cfg.dataset.generate
    assert "toy_events" in cfg.dataset.root
    scaled = {"train.max_iter": real.train.max_iter // 10_000}
    # At a toy sensor's size nothing is halved, unless halving is the factor.
    if real.dataset.downsample == "nearest":
        scaled["dataset.downsample"] = "none"
    for key in loaded("patch2_4scale_sizeaware_200k").experiment.factors + real.experiment.factors:
        expected = scaled.get(key, OmegaConf.select(real, key))
        assert OmegaConf.select(cfg, key) == expected, key


def toy_model(name: str, *overrides: str) -> torch.nn.Module:
    torch.manual_seed(0)
    cfg = load_config(ROOT / "configs" / "debug" / "etram" / f"{name}.py", overrides)
    return instantiate(to_plain(cfg.model))


@pytest.mark.parametrize(
    ("name", "strides", "overrides"),
    [
        ("baseline_3scale_100k", [8, 16, 32], ()),
        ("4scale_100k", [4, 8, 16, 32], ()),
        (PATCH2, [4, 8, 16], ()),
        ("patch2_4scale_sizeaware_200k", [2, 4, 8, 16], ()),
        (PATCH2, [2, 4, 8], ("model.backbone.in_stages=[1,2,3]",)),
    ],
)
def test_strides_reach_the_head(name, strides, overrides):
    model = toy_model(name, *overrides)
    assert [shape.stride for shape in model.backbone.output_shape().values()] == strides
    assert list(model.head.strides.values()) == strides


def test_a_patch_2_checkpoint_is_refused_by_a_patch_4_config(tmp_path):
    path = tmp_path / "model_best.pth"
    torch.save({"model": toy_model(PATCH2).state_dict()}, path)
    with pytest.raises(ValueError, match="does not fit the model of this config") as caught:
        load_weights(toy_model(SIZEAWARE), path)
    stem = "backbone.bottom_up.stages.0.downsample_cf2cl.conv.weight"
    assert f"{stem} is (16, 20, 3, 3) instead of (16, 20, 7, 7)" in str(caught.value)
    assert str(tmp_path / "config.yaml") in str(caught.value)


def test_attention_of_another_form_is_refused_or_loads_by_option(tmp_path):
    name, path = "3scale_sizeaware_attention_100k", tmp_path / "model_best.pth"
    by_steps = "model.backbone.temporal_weights=steps"
    torch.save({"model": toy_model(name, by_steps).state_dict()}, path)
    with pytest.raises(ValueError, match=r"temporal\.fc1\.weight is") as caught:
        load_weights(toy_model(name), path)
    assert f"lab.py reproduce {tmp_path}" in str(caught.value)
    load_weights(toy_model(name, by_steps), path)


def test_patch_2_in_less_memory_and_evaluated_from_its_run_folder(tmp_path):
    folder = tmp_path / "run"
    overrides = [
        "train.amp.enabled=true",
        "train.max_iter=2",
        "dataloader.sequence_length=2",
        "dataloader.valid.limit=2",
        "dataloader.test.limit=2",
        f"train.output_dir={folder}",
        f"dataset.root={tmp_path / 'events'}",
        "dataset.generate={train: 1, val: 1, test: 1, seconds: 0.8, width: 128, height: 96}",
    ]
    name = f"{PATCH2}_low_memory"
    cfg = load_config(ROOT / "configs" / "debug" / "etram" / f"{name}.py", overrides)
    assert cfg.train.total_batch_size == cfg.dataloader.train.total_batch_size == 2
    results = run(to_plain(cfg))
    assert results["iterations"] == 2 and 0 < results["final_loss"] < float("inf")
    save_config(cfg, folder)
    moved = folder.rename(tmp_path / "moved")
    again = load_config(moved / "config.yaml", [f"train.output_dir={moved}"])
    assert run(to_plain(again), eval_only=True)["test"] == results["test"]


def test_voxel_grids_are_trained_on_and_predicted_from_raw_events(tmp_path):
    overrides = [
        "train.max_iter=2",
        "dataloader.valid.limit=2",
        "dataloader.test.limit=2",
        f"train.output_dir={tmp_path / 'run'}",
        f"dataset.root={tmp_path / 'events'}",
        "dataset.generate={train: 1, val: 1, test: 1, seconds: 0.8, width: 128, height: 96}",
    ]
    config = ROOT / "configs/debug/etram/baseline_3scale_voxel_100k.py"
    cfg = load_config(config, overrides)
    results = run(to_plain(cfg))
    assert results["iterations"] == 2 and 0 < results["final_loss"] < float("inf")
    assert any((tmp_path / "run/evaluation/test").glob("gallery/*.png"))
    save_config(cfg, tmp_path / "run")
    predictor = smalldet.load(tmp_path / "run", device="cpu")
    (recording,) = EventRecordings(
        str(tmp_path / "events"), downsample="none", representation="voxel"
    ).recordings("test")
    (events,) = (tmp_path / "events_raw/test").glob("*_td.h5")
    found = {frame.time_us: frame.histogram for frame in predictor.stream(events)}
    times = recording.timestamps_us.tolist()
    assert len(times) > 10
    for step, time in enumerate(times):
        assert np.array_equal(found[time], recording.events(step, step + 1)[0])
    wide = ["model.backbone.bottom_up.in_channels=20", f"train.output_dir={tmp_path / 'wide'}"]
    with pytest.raises(ValueError, match=r"20 channels.*, 10, .*set in_channels"):
        run(to_plain(load_config(config, [*overrides, *wide])))


@pytest.mark.parametrize(
    ("text", "slices"),
    [
        ("datasets/weather.csv", "datasets/weather.csv"),
        ("{rain:'*rain*'}", {"day": "*_day_*", "night": "*_night_*", "rain": "*rain*"}),
        ("null", None),
    ],
)
def test_slices_are_an_override_that_changes_no_other_score(text, slices, tmp_path):
    config = ROOT / "configs/etram/baseline_3scale_100k.py"
    cfg = load_config(config, [f"evaluation.test.slices={text}"])
    assert to_plain(cfg)["evaluation"]["test"]["slices"] == slices
    save_config(loaded("baseline_3scale_100k"), tmp_path)
    assert not config_changes(cfg, tmp_path)  # a run of before may be resumed


@pytest.mark.parametrize("text", ["null", "{_target_:eventcam.labels.LabelFilter,min_side:2}"])
def test_the_filter_of_training_is_an_override(text):
    config = ROOT / "configs/etram/baseline_3scale_100k.py"
    cfg = to_plain(load_config(config, [f"+dataset.train_filter={text}"]))
    chosen = instantiate(cfg["dataset"]).train_filter
    assert chosen == (None if text == "null" else LabelFilter(min_side=2))


@pytest.mark.parametrize("classes", ["[person,bike]", "'person,bike=bicycle+scooter'"])
def test_own_classes_are_an_override(classes):
    overrides = [f"dataset.class_map={classes}", "model.head.num_classes=2"]
    cfg = to_plain(load_config(ROOT / "configs/etram/baseline_3scale_100k.py", overrides))
    assert instantiate(cfg["dataset"]).class_map.classes == ("person", "bike")
