"""Runs that end before their last step: without progress, or on request; and how they go on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
import toys
from toys import assert_same_weights, kill_toy, metrics, settings_for, train_toy

from smalldet.engine.hooks import saving
from smalldet.engine.run import exit_reason

SCORES = {1: 5.0, 3: 9.0, 5: 9.0, 7: None, 9: 1.0, 11: 10.0, 13: 0.0, 15: 0.0}


def steps(folder) -> int:
    return metrics(folder)[-1]["iteration"] + 1


def test_ends_after_so_many_evaluations_without_a_better_one(tmp_path):
    run = train_toy(tmp_path / "short", 16, scores=SCORES, patience=3)
    assert run.iter == run.max_iter == steps(run) == 10
    assert (tmp_path / "short" / "last_checkpoint").read_text() == "model_0000010.pth"
    assert run.evaluation.best_iteration == 3
    reason = exit_reason(settings_for(tmp_path, 16), 10, run.stop)
    for fact in ("after 10 of 16 steps", "did not exceed 9.000 (step 4) in 3 evaluations"):
        assert fact in reason
    whole = train_toy(tmp_path / "whole", 16, scores=SCORES)
    assert metrics(run) == metrics(whole)[:10]  # its schedule is that of the whole run as well
    again = train_toy(tmp_path / "short", 16, scores=SCORES, patience=3)
    assert again.stop.is_over and steps(again) == 10
    assert_same_weights(run, again)


@pytest.mark.parametrize(("patience", "expected"), [(1, 6), (2, 8), (4, 16), (9, 16)])
def test_patience_counts_equal_and_undefined_scores(tmp_path, patience, expected):
    assert steps(train_toy(tmp_path, 16, scores=SCORES, patience=patience)) == expected


def test_waiting_goes_on_after_a_kill(tmp_path):
    kill_toy(tmp_path, 16, scores=SCORES, patience=3, stop_at=8)  # has waited twice
    assert steps(train_toy(tmp_path, 16, scores=SCORES, patience=3)) == 10


def test_a_run_that_was_never_scored_says_so(tmp_path):
    trainer = train_toy(tmp_path, 8, scores=dict.fromkeys(SCORES), patience=2)
    assert "was never defined in 2 evaluations" in trainer.stop.reason()
    assert exit_reason(settings_for(tmp_path, 8), 8, None).startswith("All 8 steps done")


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
    """Signals that arrive while the batch of a step is loaded, by step."""
    due: dict[int, list[int]] = {}
    genuine = toys.sample

    def sample(n: int) -> dict:
        for number in due.pop(n // 8, []) if n % 8 == 5 else []:
            signal.raise_signal(number)
        return genuine(n)

    monkeypatch.setattr(toys, "sample", sample)
    return due


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("model_0*.pth"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory):
    return train_toy(tmp_path_factory.mktemp("whole"), 8)


@pytest.mark.parametrize("step", [0, 4, 5])  # before any checkpoint; between two; with one
@pytest.mark.parametrize("number", saving.SIGNALS)
def test_it_goes_on_to_the_same_digits(tmp_path, whole, signals, step, number):
    before = [signal.getsignal(n) for n in saving.SIGNALS]
    signals[step] = [number]
    kill_toy(tmp_path, 8)
    assert [signal.getsignal(n) for n in saving.SIGNALS] == before
    assert (tmp_path / "last_checkpoint").read_text() == f"model_{step + 1:07d}.pth"
    parts = train_toy(tmp_path, 8)
    assert parts.start_iter == step + 1
    assert metrics(parts) == metrics(whole)
    assert_same_weights(parts, whole)


def test_checkpoints_to_keep_are_written_whatever_the_period_and_named_by_steps_done(tmp_path):
    train_toy(tmp_path, 12, period=5, keep_every=4)
    names = checkpoints(tmp_path)
    assert names == [f"model_{steps:07d}.pth" for steps in (4, 8, 10, 12)]
    for name in names:
        content = torch.load(tmp_path / name, weights_only=True)
        assert f"model_{content['iteration'] + 1:07d}.pth" == name


def test_a_run_saved_under_a_name_of_before_goes_on(tmp_path, whole):
    kill_toy(tmp_path, 8, stop_at=4)
    (tmp_path / "model_0000004.pth").rename(tmp_path / "model_0000003.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000003.pth")
    parts = train_toy(tmp_path, 8)
    assert parts.start_iter == 4
    assert metrics(parts) == metrics(whole)
    assert_same_weights(parts, whole)


def test_signals_that_come_together_are_one_request(tmp_path, signals):
    signals[2] = [signal.SIGINT, signal.SIGTERM, signal.SIGINT]
    kill_toy(tmp_path, 8)
    assert checkpoints(tmp_path) == ["model_0000002.pth", "model_0000003.pth"]
    last = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    assert last["iteration"] == 2 and "total_loss" in last


def test_a_later_second_request_ends_at_once(tmp_path, signals, monkeypatch):
    monkeypatch.setattr(saving, "ONE_REQUEST_SECONDS", -1.0)
    signals[2] = [signal.SIGINT, signal.SIGINT]
    kill_toy(tmp_path, 8)
    assert checkpoints(tmp_path) == ["model_0000002.pth"]
