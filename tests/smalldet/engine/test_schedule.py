"""The one-cycle schedule against published numbers, and at its limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smalldet.engine.schedule import OneCycle

GOLDEN = np.load(Path(__file__).resolve().parents[2] / "golden" / "rvt" / "lr_schedule.npz")
CASES = json.loads(str(GOLDEN["meta_json"]))["cases"]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_equals_the_published_learning_rates(number):
    case = CASES[number]
    total = case["total_steps"]
    schedule = OneCycle(
        total, case["pct_start"], case["div_factor"], case["final_div_factor_config"]
    )
    steps, rates = GOLDEN[f"case{number}/step"], GOLDEN[f"case{number}/lr"]
    ours = [case["max_lr"] * schedule(step / total) for step in steps]
    np.testing.assert_allclose(ours, rates, rtol=1e-6)


@pytest.mark.parametrize("total", [1, 2, 3, 10, 199, 200, 1000])
def test_short_runs_stay_between_nothing_and_the_peak(total):
    schedule = OneCycle(total)
    values = [schedule(step / total) for step in range(total)]
    assert all(0 < value <= 1 for value in values)
    assert values[-1] == pytest.approx(1e-4) or total < 3


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="at least 1 step"):
        OneCycle(0)
