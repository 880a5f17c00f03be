"""A run without progress ends cleanly; how it ends survives a kill."""

from __future__ import annotations

import pytest
import torch
from test_trainer import metrics
from toys import settings_for, train_toy

from smalldet.engine.run import exit_reason

SCORES = {1: 5.0, 3: 9.0, 5: 9.0, 7: None, 9: 1.0, 11: 10.0, 13: 0.0, 15: 0.0}


def steps(folder) -> int:
    return metrics(folder)[-1]["iteration"] + 1


def test_ends_after_so_many_evaluations_without_a_better_one(tmp_path):
    trainer = train_toy(tmp_path, 16, scores=SCORES, patience=3)
    assert trainer.iter == trainer.max_iter == steps(tmp_path) == 10
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000009.pth"
    assert trainer.evaluation.best_iteration == 3
    reason = exit_reason(settings_for(tmp_path, 16), 10, trainer.stop)
    assert (
        "after 10 of 16 steps" in reason
        and "did not exceed 9.000 (step 4) in 3 evaluations" in reason
    )


@pytest.mark.parametrize(("patience", "expected"), [(1, 6), (2, 8), (4, 16), (9, 16)])
def test_patience_counts_equal_and_undefined_scores(tmp_path, patience, expected):
    train_toy(tmp_path, 16, scores=SCORES, patience=patience)
    assert steps(tmp_path) == expected


def test_the_steps_before_the_end_are_those_of_a_whole_run(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "short").mkdir()
    train_toy(tmp_path / "whole", 16, scores=SCORES)
    train_toy(tmp_path / "short", 16, scores=SCORES, patience=3)
    assert metrics(tmp_path / "short") == metrics(tmp_path / "whole")[:10]  # its schedule as well


def test_waiting_goes_on_after_a_kill(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path, 16, scores=SCORES, patience=3, stop_at=8)  # has waited twice
    train_toy(tmp_path, 16, scores=SCORES, patience=3)
    assert steps(tmp_path) == 10


def test_a_run_that_is_over_trains_no_further(tmp_path):
    first = train_toy(tmp_path, 16, scores=SCORES, patience=3)
    again = train_toy(tmp_path, 16, scores=SCORES, patience=3)
    assert again.stop.is_over and steps(tmp_path) == 10
    for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_that_was_never_scored_says_so(tmp_path):
    trainer = train_toy(tmp_path, 8, scores=dict.fromkeys(SCORES), patience=2)
    assert "was never defined in 2 evaluations" in trainer.stop.reason()
    assert exit_reason(settings_for(tmp_path, 8), 8, None).startswith("All 8 steps done")
