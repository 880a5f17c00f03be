"""Run folders with scores, matches and curves that a test can foresee."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labbook_toys import STUDIES
from omegaconf import OmegaConf
from pandas import DataFrame

from boxmetrics.bootstrap import bootstrap_ap, bootstrap_difference
from boxmetrics.matches import ImageBoxes, Matches, match_images
from labbook.config.studies import Study
from labbook.results.frames import experiments_frame, runs_frame
from labbook.results.intervals import IntervalCache
from labbook.results.runs import read_runs
from runfolder.records import finish_record, start_record, write_results

OFAT, ETRAM = STUDIES["ofat"], STUDIES["etram"]
BASELINE = "ofat_baseline_lr0.001_bs8_adamw_ep100"
LR = "ofat_lr0.01_bs8_adamw_ep100"
BATCH = "ofat_lr0.001_bs16_adamw_ep100"
SGD = "ofat_lr0.001_bs8_sgd_ep100"
FACTORS = {LR: ("optimizer.lr", 0.01), BATCH: ("train.total_batch_size", 16), SGD: ("optimizer", 1)}
EVALUATION = {
    "protocol": "coco",
    "evaluator": "faster-coco-eval 1.7",
    "annotation_sha256": "a" * 64,
    "classes": ["head"],
}


def make_run(
    root: Path,
    name: str = BASELINE,
    share: float = 0.5,
    *,
    seed: int = 0,
    folder: str = "",
    end: str = "finished",
    study: Study = OFAT,
    experiment: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    lines: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """A run that finds this share of the objects, and nothing else.

    ``folder`` is named after experiment and seed unless given; ``end`` is how it ended, ``running``
    if it has not. The other arguments replace entries of what it declares, of its config, of
    ``results.json`` and of each ``evaluation.json``; ``lines`` is its ``metrics.json``.
    """
    path = root / study.work_folder / (folder or f"{name}_seed{seed + 1}" * bool(seed) or name)
    start_record(path, ["train"], seed)
    text = OmegaConf.to_yaml(OmegaConf.create(config_of(name, seed, study, experiment, config)))
    (path / "config.yaml").write_text(text)
    (path / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scores = {}
    for number, split in enumerate(("valid", "test")):
        matches = matches_of(share, number)
        scores[split] = scores_of(matches)
        write_evaluation(path / "evaluation" / split, matches, {**EVALUATION, **(evaluation or {})})
    if end == "finished":
        write_results(path, {**scores, "data_fingerprint": "d" * 64, **(results or {})})
    if end != "running":
        finish_record(path, end, "All is well." if end == "finished" else "Not finite.\nAt step 7.")
    return path


def config_of(
    name: str,
    seed: int,
    study: Study = OFAT,
    experiment: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A resolved config; the seed is in three places, as in the real ones."""
    factor, level = FACTORS.get(name, ("", "baseline"))
    declared = {
        "name": name,
        "study": study.name,
        "parent": BASELINE if factor else None,
        "factors": [factor] if factor else [],
        "level": level,
    }
    train = {"seed": seed, "best_metric": "bbox/AP50", "epochs": 100, "total_batch_size": 8}
    return {
        "experiment": {**declared, **(experiment or {})},
        "train": {**train, "output_dir": f"work_dirs/{name}_{seed}", "iterations_per_epoch": 10},
        "dataloader": {"seed": seed, "mapper": {"seed": seed}},
        **(config or {}),
    }


@cache
def matches_of(share: float, shift: int = 0, images: int = 40) -> Matches:
    """One object an image, of which the share is found; which ones depends on ``shift``."""
    box = [[10, 10, 30, 30]]
    found = (np.arange(images) * 7 + shift) % images < round(share * images)
    return match_images(
        ImageBoxes(i, box * int(f), [0.9] * int(f), [0] * int(f), box, [0], [400], [False])
        for i, f in enumerate(found)
    )


def scores_of(matches: Matches) -> dict[str, float | None]:
    """What an evaluator says about them, in percent."""
    found = {key: bootstrap_ap(matches, key, repeats=1) for key in ("AP", "AP50")}
    return {f"bbox/{key}": one.estimate for key, one in found.items() if one} | {"bbox/APs": None}


def write_evaluation(folder: Path, matches: Matches, facts: Mapping[str, Any], **more: Any) -> None:
    """``matches.npz``, with the further arrays ``more``, and ``evaluation.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "matches.npz", **{**asdict(matches), **more})
    (folder / "evaluation.json").write_text(json.dumps(facts))


@contextmanager
def with_few_draws() -> Iterator[None]:
    """A tenth of the usual ones: how intervals are shown does not depend on their number."""
    few = partial(bootstrap_difference, repeats=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IntervalCache.__init__, "__defaults__", (few,))
        yield


def frames_of(
    root: Path, study: Study = OFAT, names: Sequence[str] = ()
) -> tuple[DataFrame, DataFrame]:
    """The runs and the experiments of the study."""
    found, damaged = read_runs(study, root, names)
    runs = runs_frame(study, found, names, damaged)
    return runs, experiments_frame(runs)
