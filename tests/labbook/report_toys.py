"""Finished runs of a study, made up: scenes, predictions, scores, curves, crops, records."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from labbook_toys import STUDIES
from omegaconf import OmegaConf
from PIL import Image

from boxmetrics.boxes import box_area
from boxmetrics.matches import ImageBoxes, Matches, save_matches
from boxmetrics.protocols import COCO, evaluate
from boxmetrics.tables import BoxTable
from labbook.config.studies import Study
from runfolder.records import finish_record, start_record, write_results

SIDE = 640
GALLERY = 48
Experiment = Mapping[str, Any]

OFAT: dict[str, Experiment] = {
    "baseline_lr0.001_bs8_adamw_ep100": {"skill": 0.70},
    "ofat_lr0.01_bs8_adamw_ep100": {"skill": 0.30, "factors": {"optimizer.lr": 0.01}},
    "ofat_lr0.005_bs8_adamw_ep100": {"skill": 0.62, "factors": {"optimizer.lr": 0.005}},
    "ofat_lr0.001_bs16_adamw_ep100": {"skill": 0.70, "factors": {"train.total_batch_size": 16}},
    "ofat_lr0.001_bs32_adamw_ep100": {"skill": 0.66, "factors": {"train.total_batch_size": 32}},
    "ofat_lr0.001_bs8_sgd_ep100": {"skill": 0.55, "factors": {"optimizer": "sgd"}},
    "ofat_lr0.001_bs8_rmsprop_ep100": {"skill": 0.5, "factors": {"optimizer": "rmsprop"}},
    "ofat_lr0.001_bs8_adamw_ep150": {"skill": 0.72, "factors": {"train.epochs": 150}},
    "ofat_lr0.001_bs8_adamw_ep200": {"skill": 0.74, "factors": {"train.epochs": 200}},
}
_LOSS, _FOUR = "model.head.size_aware_loss", "model.backbone.in_stages"
ETRAM: dict[str, Experiment] = {
    "baseline_3scale_100k": {"skill": 0.60},
    "4scale_100k": {"skill": 0.66, "factors": {_FOUR: [1, 2, 3, 4]}, "level": "4 scales"},
    "3scale_sizeaware_100k": {"skill": 0.67, "factors": {_LOSS: True}, "level": "weight 2.0"},
    "4scale_sizeaware_100k": {
        "skill": 0.68,
        "parent": "4scale_100k",
        "factors": {_LOSS: True, "model.head.size_aware_weight": 2.5},
        "level": "weight 2.5",
    },
    "3scale_sizeaware_rescue_100k": {
        "skill": 0.70,
        "parent": "3scale_sizeaware_100k",
        "factors": {"model.head.rescue_unmatched": True},
        "level": "rescue",
    },
    "patch2_sizeaware_100k": {
        "skill": 0.45,
        "parent": "3scale_sizeaware_100k",
        "factors": {"model.backbone.bottom_up.patch_size": 2, "train.total_batch_size": 2},
        "level": "patch 2, batch 2",
    },
}
CLASSES = {"ofat": ["head"], "etram": ["pedestrian", "car", "bicycle"]}


def make_study(
    root: Path,
    study_name: str,
    experiments: Mapping[str, Experiment] | None = None,
    seeds: int = 1,
    images: int = 40,
) -> Study:
    """Config files (empty) and finished run folders of a study below ``root``."""
    study = STUDIES[study_name]
    known = OFAT if study.family == "ofat" else ETRAM
    (root / study.config_folder).mkdir(parents=True, exist_ok=True)
    for name in known:
        (root / study.config_folder / f"{name}.py").touch()
    for name, facts in (known if experiments is None else experiments).items():
        for seed in range(1, seeds + 1):
            make_run(root, study, name, facts, seed, images)
    return study


def make_run(
    root: Path, study: Study, name: str, facts: Experiment, seed: int = 1, images: int = 40
) -> Path:
    """One run folder; ``facts["end"]`` is its status, ``finished`` unless given."""
    run_name, end = study.run_name(name), facts.get("end", "finished")
    folder = root / study.work_folder / (run_name if seed == 1 else f"{run_name}_seed{seed}")
    config = config_of(study, name, facts, seed)
    start_record(folder, ["train"], seed)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    (folder / "log.txt").write_text("a log\n")
    scores = {}
    if end == "finished":
        for number, split in enumerate(("valid", "test")):
            scene = truth(study.family, 7 + number, images)
            scores[split] = write_evaluation(folder, study, split, scene, facts["skill"], seed)
    write_curves(folder, config, facts["skill"], seed, 1.0 if end == "finished" else 0.4)
    if end == "finished":
        write_results(folder, results_of(config, scores, facts["skill"]))
    if end != "running":
        finish_record(folder, end, "all is well" if end == "finished" else "the loss is nan")
    return folder


def config_of(study: Study, name: str, facts: Experiment, seed: int) -> dict[str, Any]:
    """What ``config.yaml`` says, as far as the lab book reads it."""
    factors, is_root = dict(facts.get("factors", {})), "factors" not in facts
    parent = facts.get("parent", next(iter(OFAT if study.family == "ofat" else ETRAM)))
    epochs = 100 if study.family == "ofat" else 0
    config = {
        "experiment": {
            "name": study.run_name(name),
            "study": study.name,
            "parent": None if is_root else study.run_name(parent),
            "factors": list(factors),
            "level": facts.get("level", "baseline" if is_root else next(iter(factors.values()))),
            "hypothesis": "It helps.",
            "targets": facts.get("targets", {}),
        },
        "train": {"seed": seed, "epochs": epochs, "best_metric": "bbox/AP50"},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001},
        "model": {"head": {"size_aware_loss": False, "rescue_unmatched": False}},
    }
    config["train"] |= {"total_batch_size": 8, "micro_batch_size": 2}
    if "optimizer" in factors:
        target = f"torch.optim.{factors['optimizer'].upper()}"
        factors["optimizer"] = {"_target_": target, "lr": 0.001}
    tree = OmegaConf.create(config)
    for key, value in factors.items():
        OmegaConf.update(tree, key, value, force_add=True)
    config: Any = OmegaConf.to_container(tree)
    train = config["train"]
    train["iterations_per_epoch"] = math.ceil(1271 / train["total_batch_size"])
    train["max_iter"] = train["epochs"] * train["iterations_per_epoch"] or 100_000
    return config


def truth(family: str, seed: int, images: int) -> list[ImageBoxes]:
    """Images with true boxes of all sizes and no predictions; every eighth is empty."""
    rng = np.random.default_rng(seed)
    scene = []
    for image_id in range(images):
        count = 0 if image_id % 8 == 7 else int(rng.integers(2, 8))
        side = np.exp(rng.uniform(np.log(8), np.log(160), count))
        corner = rng.uniform(0, SIDE - side[:, None], (count, 2))
        boxes = np.hstack([corner, corner + side[:, None]])
        classes = rng.integers(0, len(CLASSES[family]), count)
        crowd = np.zeros(count, bool)
        scene.append(ImageBoxes(image_id, [], [], [], boxes, classes, box_area(boxes), crowd))
    return scene


def with_predictions(
    scene: Sequence[ImageBoxes], skill: float, seed: int, classes: int
) -> list[ImageBoxes]:
    """What a detector of this skill (0..1) says: small objects are harder."""
    rng = np.random.default_rng(seed)
    return [_guess(image, skill, rng, classes) for image in scene]


def _guess(image: ImageBoxes, skill: float, rng: np.random.Generator, classes: int) -> ImageBoxes:
    boxes, labels = np.asarray(image.gt_boxes).reshape(-1, 4), np.asarray(image.gt_classes)
    side = np.sqrt(np.asarray(image.gt_areas, float))
    ease = skill * (0.45 + 0.55 * np.clip(side / 64, 0, 1))
    luck = rng.uniform(size=(3, len(boxes)))
    hard = np.random.default_rng(image.image_id).uniform(size=len(boxes))  # for every detector
    luck[0] = 0.75 * hard + 0.25 * luck[0]
    seen = luck[0] < ease + 0.15
    noise = rng.normal(0, 1, boxes.shape) * side[:, None] * (0.04 + 0.16 * (1 - ease[:, None]))
    score = np.clip(0.35 + 0.6 * ease + 0.15 * rng.normal(size=len(boxes)), 0.06, 0.99)
    confused = np.where(luck[1] < 0.12, rng.integers(0, classes, len(boxes)), labels)
    twice = seen & (luck[2] < 0.1)
    false = rng.poisson(0.8 * (1.2 - skill))
    corner, size = rng.uniform(0, 560, (false, 2)), rng.uniform(8, 60, (false, 1))
    return replace(
        image,
        boxes=np.vstack(
            [(boxes + noise)[seen], (boxes + noise / 2)[twice], np.hstack([corner, corner + size])]
        ),
        scores=np.concatenate([score[seen], score[twice] * 0.7, rng.uniform(0.1, 0.6, false)]),
        classes=np.concatenate([confused[seen], labels[twice], rng.integers(0, classes, false)]),
    )


def write_evaluation(
    folder: Path, study: Study, split: str, scene: Sequence[ImageBoxes], skill: float, seed: int
) -> dict[str, float | None]:
    """``evaluation/<split>``: matches, description, crops; returns the scores."""
    classes = CLASSES[study.family]
    home = folder / "evaluation" / split
    (home / "gallery").mkdir(parents=True)
    mark = zlib.crc32(folder.name.encode())
    table = BoxTable.of_images(with_predictions(scene, skill, seed + mark, len(classes)))
    if study.family == "etram":
        names = np.array([f"recording_{n // 4}" for n in range(len(scene))])
        table = replace(table, image_recording=names)
    save_matches(table, home / "matches.npz")
    if study.family == "ofat":  # COCO images have no such arrays
        Matches.load(home / "matches.npz").save(home / "matches.npz")
    small = [0, 2] if study.family == "etram" else []
    scores = evaluate(COCO, table, classes, small).scores
    description = {
        "protocol": "coco",
        "evaluator": "boxmetrics",
        "split": split,
        "classes": classes,
        "small_classes": [classes[k] for k in small],
        "annotation_sha256": f"{split:0<64}",
        "area_ranges": {"small": [0, 1024], "medium": [1024, 9216], "large": [9216, 1e10]},
        "results": scores,
    }
    (home / "evaluation.json").write_text(json.dumps(description))
    write_gallery(home, Matches.load(home / "matches.npz"))
    return {f"bbox/{key}": value for key, value in scores.items()}


def write_gallery(home: Path, matches: Matches) -> None:
    """``gallery.json`` and crops of the smallest objects."""
    objects = []
    for number, row in enumerate(np.argsort(matches.gt_area)[:GALLERY].tolist()):
        file = f"gallery/{number:03d}.png"
        (home / file).write_bytes(png(row))
        facts = {"gt": row, "image_id": int(matches.image_ids[matches.gt_image[row]])}
        facts |= {"class": int(matches.gt_class[row]), "area": float(matches.gt_area[row])}
        objects.append({**facts, "file": file})
    (home / "gallery.json").write_text(json.dumps({"objects": objects}))


@cache  # every run of a study has the same
def png(seed: int, side: int = 48) -> bytes:
    """A small RGB picture of noise."""
    content = BytesIO()
    pixels = np.random.default_rng(seed).integers(60, 200, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_curves(
    folder: Path, config: Mapping[str, Any], skill: float, seed: int, share: float
) -> None:
    """``metrics.json``: losses that fall, AP that rises; at the end of 20 epochs each."""
    rng = np.random.default_rng(seed)
    steps, lines = config["train"]["max_iter"], []
    for n in range(1, int(200 * share) + 1):
        at = n / 200
        loss = 0.4 + 1.6 * (1 - skill) + 3 * math.exp(-6 * at) + 0.1 * rng.normal()
        line = {"iteration": round(at * steps) - 1, "total_loss": loss}
        line |= {"grad_norm": 2 + abs(rng.normal()), "lr": 0.001, "time": 0.3, "memory_mb": 3e3}
        if n % 10 == 0:
            ap = 100 * skill * (1 - math.exp(-4 * at)) + rng.normal()
            line |= {"bbox/AP50": ap, "bbox/AP": 0.55 * ap, "bbox/APs": 0.3 * ap}
            line |= {"bbox/AP-small-classes": 0.4 * ap}
            line |= {"validation/total_loss": loss + 0.2 + 0.5 * at**2}
        lines.append(json.dumps(line))
    (folder / "metrics.json").write_text("\n".join(lines) + "\n")


def results_of(
    config: Mapping[str, Any], scores: Mapping[str, Any], skill: float
) -> dict[str, Any]:
    """What ``results.json`` says."""
    steps, batch = config["train"]["max_iter"], config["train"]["total_batch_size"]
    return {
        **scores,
        "iterations": steps,
        "best_iteration": int(0.9 * steps) - 1,
        "best_epoch": round(0.9 * config["train"]["epochs"]),
        "training_seconds": steps * 0.04 * (2 + batch),
        "seconds_per_iteration": 0.04 * (2 + batch),
        "peak_memory_mb": 3000 + 400 * batch,
        "final_loss": 0.4 + 1.6 * (1 - skill),
        "parameters": {"trainable": 1_000_000, "frozen": 6_000_000},
        "data_fingerprint": "abc",
    }
