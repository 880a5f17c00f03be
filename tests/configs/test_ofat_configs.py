"""The nine OFAT configs: sizes, derived steps, one factor each, and what overrides do to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from detectron2.config import instantiate
from loaded_once import load_config
from omegaconf import OmegaConf

from labbook.config.load import ConfigError, to_plain
from labbook.config.resume import config_changes

ROOT = Path(__file__).resolve().parents[2]
OFAT = ROOT / "configs" / "ofat"
BASELINE = OFAT / "baseline_lr0.001_bs8_adamw_ep100.py"
STEPS = {
    "baseline_lr0.001_bs8_adamw_ep100": 15_900,
    "ofat_lr0.01_bs8_adamw_ep100": 15_900,
    "ofat_lr0.005_bs8_adamw_ep100": 15_900,
    "ofat_lr0.001_bs16_adamw_ep100": 8_000,
    "ofat_lr0.001_bs32_adamw_ep100": 4_000,
    "ofat_lr0.001_bs8_sgd_ep100": 15_900,
    "ofat_lr0.001_bs8_rmsprop_ep100": 15_900,
    "ofat_lr0.001_bs8_adamw_ep150": 23_850,
    "ofat_lr0.001_bs8_adamw_ep200": 31_800,
}
CHILDREN = [name for name in STEPS if name.startswith("ofat")]


def path_of(name: str) -> Path:
    return OFAT / f"{name}.py"


def test_the_folder_holds_exactly_the_nine():
    shipped = {path.stem for path in OFAT.glob("*.py")} - {"combined"}  # lab.py combine writes it
    assert shipped == set(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_steps_follow_from_epochs_images_and_batch(name):
    cfg = load_config(path_of(name))
    assert cfg.train.max_iter == STEPS[name]
    run_name = name if name.startswith("ofat_") else f"ofat_{name}"
    assert cfg.experiment.name == run_name
    assert cfg.train.output_dir == f"work_dirs/{run_name}"


def test_batch_override_is_followed_everywhere():
    cfg = load_config(BASELINE, ["train.total_batch_size=2"])
    assert cfg.train.max_iter == 63_600
    assert cfg.train.eval_period == cfg.train.iterations_per_epoch == 636
    assert cfg.dataloader.train.total_batch_size == 2
    assert cfg.lr_multiplier.warmup_length == pytest.approx(500 / 63_600)


def test_a_merge_is_an_override_and_configs_saved_before_take_it_too(tmp_path):
    cfg = load_config(BASELINE, ["dataset.classes=[face]", "dataset.merge={face:[mask,bare]}"])
    assert instantiate(cfg.dataset).merge == {"face": ["bare", "mask"]}
    saved = to_plain(load_config(BASELINE))
    del saved["dataset"]["merge"]
    OmegaConf.save(OmegaConf.create(saved), tmp_path / "config.yaml")
    assert config_changes(load_config(BASELINE), tmp_path) == {}
    assert config_changes(load_config(BASELINE, ["dataset.merge={head:[face]}"]), tmp_path)
    again = load_config(tmp_path / "config.yaml", ["dataset.merge={head:[face]}"])
    assert instantiate(again.dataset).merge == {"head": ["face"]}


def test_keeping_the_aspect_is_one_override_and_off_for_runs_of_before(tmp_path):
    saved = to_plain(load_config(BASELINE))
    del saved["dataloader"]["resize"], saved["dataloader"]["resizes"]
    OmegaConf.save(OmegaConf.create(saved), tmp_path / "config.yaml")
    assert config_changes(load_config(BASELINE), tmp_path) == {}
    cfg = load_config(BASELINE, ["dataloader.resize=keep_aspect", "dataloader.image_size=320"])
    assert config_changes(cfg, tmp_path)
    for split in ("train", "valid", "test"):
        resize = instantiate(to_plain(cfg.dataloader[split].mapper)).augmentations.augs[0]
        assert type(resize).__name__ == "ResizeToFit" and resize.shape == (320, 320)
    with pytest.raises(ConfigError, match=r"resizes\.fill' not found.* has stretch, keep"):
        load_config(BASELINE, ["dataloader.resize=fill"])
    with pytest.raises(ConfigError, match=r"not found\. Did you mean 'keep_aspect'\?"):
        load_config(BASELINE, ["dataloader.resize=keep_aspct"])


@pytest.mark.parametrize("name", STEPS)
def test_the_best_model_is_the_one_of_the_study_s_primary_metric(name):
    assert load_config(path_of(name)).train.best_metric == "bbox/AP50"


def test_a_run_whose_metric_was_another_goes_on_with_it(tmp_path):
    before = load_config(BASELINE, ["train.best_metric=bbox/AP"])
    OmegaConf.save(OmegaConf.create(to_plain(before)), tmp_path / "config.yaml")
    assert config_changes(before, tmp_path) == {}
    assert set(config_changes(load_config(BASELINE), tmp_path)) == {"train.best_metric"}


def test_every_epoch_may_be_kept():
    words = ["train.keep_every=${train.iterations_per_epoch}", "train.total_batch_size=16"]
    assert load_config(BASELINE, words).train.keep_every == 80


@pytest.mark.parametrize("name", CHILDREN)
def test_children_say_what_they_ask(name):
    text = path_of(name).read_text()
    assert all(word in text for word in ("Question:", "Hypothesis:", f"run_single_ofat.sh {name}"))


def test_baseline_is_the_study_s():
    cfg = load_config(BASELINE)
    assert cfg.optimizer._target_.endswith(".AdamW")
    assert (cfg.optimizer.lr, cfg.optimizer.weight_decay) == (0.001, 0.1)
    assert list(cfg.optimizer.betas) == [0.9, 0.999]
    assert cfg.train.micro_batch_size == 2 and cfg.train.warmup_iters == 500
    assert cfg.dataloader.image_size == 640 and cfg.model.backbone.bottom_up.img_size == 640


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ofat_lr0.001_bs8_sgd_ep100", {"momentum": 0.9, "weight_decay": 1e-4}),
        ("ofat_lr0.001_bs8_rmsprop_ep100", {"alpha": 0.99, "eps": 1e-8, "weight_decay": 1e-4}),
    ],
)
def test_other_optimizers_have_the_study_s_values(name, expected):
    optimizer = load_config(path_of(name)).optimizer
    assert optimizer.lr == 0.001
    assert {key: optimizer[key] for key in expected} == expected


@pytest.mark.parametrize("max_iter", [15_900, 31_800, 100])
def test_learning_rate_warms_up_and_steps_down(max_iter):
    overrides = [f"train.max_iter={max_iter}", "train.warmup_iters=10"]
    schedule = instantiate(to_plain(load_config(BASELINE, overrides).lr_multiplier))
    at = {share: schedule(share) for share in (0.0, 0.5, 0.695, 0.705, 0.895, 0.905)}
    assert at[0.0] == pytest.approx(0.001)
    assert schedule(5 / max_iter) == pytest.approx(0.5, abs=0.01)
    assert [at[s] for s in (0.5, 0.695)] == [1.0, 1.0]
    assert [at[s] for s in (0.705, 0.895)] == pytest.approx([0.1, 0.1])
    assert at[0.905] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("train.max_itre=5", "train.max_iter"),
        ("model.roi_heads.batch_size_per_imge=8", "batch_size_per_image"),
        ("optimiser.lr=1", "optimizer"),
        ("model.backbone.bottom_up.depht=2", "depth"),
    ],
)
def test_unknown_keys_name_the_nearest(override, nearest):
    with pytest.raises(ConfigError, match=nearest):
        load_config(BASELINE, [override])


@pytest.mark.parametrize("path", [*(f"ofat/{name}.py" for name in STEPS), "demo/heads.py"])
def test_toy_versions_load_and_stay_apart(path):
    cfg = load_config(ROOT / "configs/debug" / path)
    assert cfg.train.output_dir.startswith("work_dirs/debug/")
    assert cfg.experiment.study in ("ofat-debug", "demo")
    assert not cfg.dataset.root.endswith("/coco") and cfg.dataset.generate


def test_toy_versions_keep_the_factor():
    folder = ROOT / "configs/debug/ofat"
    steps = {name: load_config(folder / f"{name}.py").train.max_iter for name in STEPS}
    baseline = steps[BASELINE.stem]
    assert steps["ofat_lr0.001_bs8_adamw_ep200"] == 2 * baseline
    assert steps["ofat_lr0.001_bs32_adamw_ep100"] * 4 == baseline
