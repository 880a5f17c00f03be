"""What the feature cache saves: a training step of the full-size OFAT baseline, one image."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import torch

from benchmarks.measure import Call, Candidate, Row, compare
from benchmarks.ofat import BASELINE, ROOT, SIZE, build, picture, step_of
from labbook.config.load import load_config
from smalldet.engine.feature_cache import frozen_part

SWEEP = "configs/ofat"
VARIANTS = 2  # of each training image: as it is, and mirrored
STEP, FEATURES = 0.0, 5.0  # times the speed; the head decides that of a step: only reported


def rows() -> Iterator[Row]:
    """The step, then the features alone (computed, read)."""
    with tempfile.TemporaryDirectory() as folder:
        (step, cached_step), (features, cached_features) = calls(folder)
        whole = {"OFAT step at 640 px, features cached": Candidate(cached_step, STEP)}
        yield from compare(step, whole, 3)
        only = {"ViM features alone, cached": Candidate(cached_features, FEATURES)}
        yield from compare(features, only, 5)


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """The sum for the sweep."""
    images, passes = sweep()
    seen = images * passes
    step, features = rows
    hour = 3.6e6  # ms
    saved = seen * (features.reference_ms - features.candidate_ms) / hour
    making = VARIANTS * images * features.reference_ms / hour
    yield (
        f"The nine runs train on {seen:,} images ({images:,} in {passes:,} epochs): at this speed "
        f"the cache saves {saved:.1f} hours less {making:.2f} to make it, of "
        f"{seen * step.reference_ms / hour:.0f} hours."
    )


def sweep() -> tuple[int, int]:
    """Training images, and epochs of all runs of the sweep together."""
    files = [path for path in (ROOT / SWEEP).glob("*.py") if path.stem != "combined"]
    configs = [load_config(path, []) for path in files]
    return configs[0].train.images, sum(cfg.train.epochs for cfg in configs)


def calls(folder: str) -> tuple[tuple[Call, Call], tuple[Call, Call]]:
    """A step, and the features alone; each computed and cached."""
    batch = [picture(SIZE, 0)]
    models = [build(BASELINE, "train.device=cpu").model for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    images = models[0].preprocess_image(batch).tensor
    parts = [frozen_part(model) for model in models]
    parts[1].use_cache(folder).add(images)
    step, cached_step = (step_of(model, batch) for model in models)
    for name, feature in parts[0](images).items():
        assert torch.equal(feature, parts[1](images)[name])
    return (step, cached_step), (lambda: parts[0](images), lambda: parts[1](images))
