"""A run that is asked to stop ends after a whole step, saved, and goes on as if it had not."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
import toys
from test_trainer import metrics
from toys import train_toy

from smalldet.engine.hooks import stop


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


@pytest.mark.parametrize("step", [0, 4, 5])  # before any checkpoint; between two; with one
@pytest.mark.parametrize("number", stop.SIGNALS)
def test_it_goes_on_to_the_same_digits(tmp_path, signals, step, number):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = train_toy(tmp_path / "whole", 8)
    before = [signal.getsignal(n) for n in stop.SIGNALS]
    signals[step] = [number]
    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path / "parts", 8)
    assert [signal.getsignal(n) for n in stop.SIGNALS] == before
    assert (tmp_path / "parts" / "last_checkpoint").read_text() == f"model_{step:07d}.pth"
    parts = train_toy(tmp_path / "parts", 8)
    assert parts.start_iter == step + 1
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_signals_that_come_together_are_one_request(tmp_path, signals):
    signals[2] = [signal.SIGINT, signal.SIGTERM, signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path, 8)
    assert checkpoints(tmp_path) == ["model_0000001.pth", "model_0000002.pth"]


def test_a_later_second_request_ends_at_once(tmp_path, signals, monkeypatch):
    monkeypatch.setattr(stop, "ONE_REQUEST_SECONDS", -1.0)
    signals[2] = [signal.SIGINT, signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path, 8)
    assert checkpoints(tmp_path) == ["model_0000001.pth"]


def test_what_was_measured_until_the_stop_is_written(tmp_path, signals):
    signals[2] = [signal.SIGTERM]
    with pytest.raises(KeyboardInterrupt):
        train_toy(tmp_path, 8)
    last = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    assert last["iteration"] == 2 and "total_loss" in last
