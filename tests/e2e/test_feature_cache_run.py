"""A run that reads frozen features from disk is the run that computes them, digit by digit."""

from __future__ import annotations

import sys

import pytest
from script_runs import (
    CONFIG,
    assert_equal_ends,
    command,
    execute,
    metrics,
    run_script,
    small_overrides,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    """Overrides that make the toy baseline smaller still: 4 steps of 4 images."""
    return [*small_overrides(tmp_path_factory.mktemp("data") / "heads"), "train.epochs=2"]


@pytest.fixture(scope="module")
def cache(data, tmp_path_factory) -> str:
    """A folder that the tool has filled."""
    folder = str(tmp_path_factory.mktemp("features"))
    tool = [sys.executable, "tools/cache_features.py", "--config-file", CONFIG]
    done = execute([*tool, "--folder", folder, *data])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'train': 16, 'valid': 2, 'test': 2" in done.stdout, "training images and their mirrors"
    return folder


def test_the_same_losses_weights_and_scores(data, cache, tmp_path):
    folders = tmp_path / "plain", tmp_path / "cached"
    run_script(CONFIG, folders[0], data)
    run_script(CONFIG, folders[1], [*data, f"train.feature_cache={cache}"])
    assert metrics(folders[0]) == metrics(folders[1])
    assert_equal_ends(*folders)


def test_what_cannot_be_kept_is_refused(data, cache, tmp_path):
    trained = "model.backbone.bottom_up.frozen=false"
    unknown = "dataset.generate.seed=7"
    for override, sentence in (
        (trained, "needs one frozen backbone"),
        (unknown, "is not in the feature cache"),
    ):
        root = f"dataset.root={tmp_path / 'other'}"
        overrides = [*data, root, override, f"train.feature_cache={cache}"]
        done = execute(command(CONFIG, tmp_path / override.split("=")[0], overrides))
        assert done.returncode == 1 and sentence in done.stderr, done.stderr
