"""The arithmetic of the bench: shares of time, bytes kept, micro-batches that fit."""

from __future__ import annotations

import re
import time

import pytest
import torch
from benchmarks.bench import GPU_PARTS, PARTS, module_of
from benchmarks.ofat import ROOT
from benchmarks.parts.models import bf16, feature_cache, memory, overhead
from detectron2.config import instantiate
from torch import nn
from torch.utils.checkpoint import checkpoint

from benchmarks import saved
from labbook.config.load import load_config, save_config, to_plain
from smalldet.engine.checkpoint import save_whole


@pytest.mark.parametrize("path", [*PARTS.values(), *GPU_PARTS.values()], ids=lambda path: path.stem)
def test_every_part_is_measured_with_the_code_of_today(path):
    assert callable(module_of(path).rows)


def test_the_share_outside_of_the_model():
    steps = [(1.0, 0.95), (2.0, 1.9), (4.0, 3.8), (1.0, 0.1), (1.0, 0.95)]
    row = overhead.share_row("x", steps)
    assert (row.reference_ms, row.candidate_ms) == (1000, pytest.approx(100))
    assert row.ratio == pytest.approx(0.10 / 0.05) and row.passed
    assert not overhead.share_row("x", [(1.0, 0.8)] * 3).passed


def test_the_clock_takes_forward_backward_and_optimizer_as_inside(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Slow(nn.Linear):
        def forward(self, x):
            now[0] += 2
            return super().forward(x)

    class SlowStep(torch.optim.SGD):
        def step(self, closure=None):
            now[0] += 3

    model = Slow(1, 1)
    optimizer, clock = SlowStep(model.parameters(), lr=1.0), overhead.StepClock()
    backward = torch.Tensor.backward
    with clock.attached(model):
        for _ in range(3):
            now[0] += 5  # data
            for _ in range(2):
                loss = model(torch.ones(1, 1)).sum()
                loss.register_hook(lambda gradient: now.__setitem__(0, now[0] + 0.5))
                loss.backward()
            optimizer.step()
            now[0] += 1  # logging
    assert clock.steps == [(14.0, 8.0)] * 2
    assert torch.Tensor.backward is backward
    model(torch.ones(1, 1))
    optimizer.step()
    assert len(clock.steps) == 2, "nothing is watched afterwards"


def test_each_storage_that_is_kept_counts_once():
    weight = torch.randn(100, 100, requires_grad=True)
    x = torch.randn(50, 100)
    kept = []

    def call() -> None:
        kept.append((x @ weight).exp().exp())  # keeps x and both exponentials

    assert saved.saved_mb(call, [weight]) == pytest.approx(3 * x.nbytes / 1e6)
    with saved.Saved([weight]) as counted:
        kept.append(checkpoint(lambda y: (y @ weight).exp().exp(), x, use_reentrant=False))
    assert counted.mb == pytest.approx(x.nbytes / 1e6), "its input"


def test_what_fits_a_card():
    peaks, state = (1300.0, 2300.0), 900.0  # 300 fixed, 1,000 MB an image
    assert memory.an_image(peaks) == 1000
    for card in (1, 2, 4, 8, 24, 80):
        found = memory.fitting(peaks, state, card)
        free = 1e3 * (card * (1 - memory.SHARE) - memory.CONTEXT_GB) - state
        assert found == 0 or 300 + 1000 * found <= free
        assert 300 + 1000 * (found + 1) > free
    assert memory.fitting(peaks, state, 2) == 0 < memory.fitting(peaks, state, 8)


def test_the_part_that_keeps_most(monkeypatch):

    class Toy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.box_head = nn.ModuleList(
                nn.Sequential(nn.Linear(4, width), nn.Tanh()) for width in (8, 32)
            )

        def forward(self, batch):
            x = torch.stack(batch)
            return {str(i): head(x).sum() for i, head in enumerate(self.box_head)}

    monkeypatch.setattr(memory, "picture", lambda size, seed: torch.ones(4))
    toy = Toy()
    for images in (1, 2):
        whole, largest = memory.kept_mb(toy, images)
        assert whole == pytest.approx(images * 4 * (4 + 8 + 32) / 1e6), "input, two outputs"
        assert largest == pytest.approx(images * 4 * 32 / 1e6)
    assert not any(module._forward_hooks for module in toy.modules())


def test_bf16_is_left_out_in_a_sentence_where_there_are_no_instructions(monkeypatch):
    monkeypatch.setattr(bf16, "bf16_instructions", list)
    assert not list(bf16.rows()) and "AVX512-BF16" in next(bf16.notes([]))


def test_what_bf16_costs_of_the_scores_of_a_run(tmp_path):
    small = {"dataset.generate": "{seed: 1, image_size: 160, train: 2, valid: 2, test: 2}"}
    small |= {"dataset.root": tmp_path / "data", "train.images": 2}
    cfg = load_config(ROOT / bf16.DEMO[0], [f"{key}={value}" for key, value in small.items()])
    save_config(cfg, tmp_path / "run")
    model = instantiate(to_plain(cfg.model))
    save_whole({"model": model.state_dict()}, tmp_path / "run" / "model_best.pth")
    assert re.fullmatch(
        r"run: bbox/AP50 \d.* in fp32, \d.* in bf16\.", bf16.difference(tmp_path / "run")
    )


def test_the_sweep_is_nine_runs():
    images, epochs = feature_cache.sweep()
    assert (images, epochs) == (1271, 7 * 100 + 150 + 200)
