"""What is measured on a GPU, all of it at toy size: on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
import torch
from benchmarks.gpu import inference, scan, training
from benchmarks.ofat import picture
from benchmarks.parts.models import rvt_training, vim
from benchmarks.parts.models import scan as scan_inputs
from benchmarks.published import pair
from benchmarks.speed import page
from benchmarks.speed.machine import Machine, measured

from benchmarks import bench, measure
from smalldet.engine.trainer import Trainer

TOY_LINES = {
    "OFAT": training.LINES["OFAT"]._replace(
        config="configs/debug/ofat/baseline_lr0.001_bs8_adamw_ep100.py",
        batch=lambda images: [picture(64, seed) for seed in range(images)],
    ),
    "eTraM": training.LINES["eTraM"]._replace(config="configs/debug/etram/baseline_3scale_100k.py"),
}


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request, monkeypatch) -> str:
    """A device, with toy sizes for it."""
    monkeypatch.setattr(measure, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(scan_inputs, "CHANNELS", 4)
    monkeypatch.setattr(vim, "SIZE", 64)
    for module in (pair, rvt_training):
        monkeypatch.setattr(module, "HEIGHT", 90)
        monkeypatch.setattr(module, "WIDTH", 160)
    monkeypatch.setattr(pair, "SETTLED", 2)
    for module in (training, rvt_training):
        monkeypatch.setattr(module, "STEPS", 2)
    monkeypatch.setattr(rvt_training, "LABELLED", (0,))
    for part in (scan, inference, training):
        monkeypatch.setattr(part, "ROUNDS", 2)
    monkeypatch.setattr(inference, "VARIANTS", ("tiny",))
    monkeypatch.setattr(training, "LINES", TOY_LINES)
    monkeypatch.setattr(training, "MICRO_BATCHES", (1, 2))
    monkeypatch.setattr(training, "TIMED", 1)
    return request.param


def test_scans(device):
    rows = list(scan.rows(device))
    names = [name for name in scan.kernels(device) if scan.usable(name, device)]
    assert len(rows) == 2 * len(names)
    left_out = set(scan.kernels(device)) - set(names)
    assert all(any(name in said for said in scan.notes(rows, device)) for name in left_out)


def test_inference(device, monkeypatch):
    if device == "cpu":
        monkeypatch.setattr(inference, "DTYPES", {"bf16": torch.bfloat16})
    rows = list(inference.rows(device))
    assert len(rows) == 2 * (1 + len(inference.DTYPES))


def test_training(device, monkeypatch):
    if device == "cpu":  # most have no instructions for bf16, and take minutes
        monkeypatch.setattr(training, "Trainer", exact)
    rows = list(training.rows(device))
    assert len(rows) == 2 * (len(training.PRECISIONS[device]) + 2 * 2)
    assert all(row.candidate_ms > 0 for row in rows)
    assert len(list(training.notes(rows))) == 2 * 2 * 2


def exact(*given: Any, amp_dtype: str | None, **named: Any) -> Trainer:
    return Trainer(*given, **named)


def test_micro_batches_end_where_memory_does(monkeypatch):
    def peak_mb(call, device):
        sizes.append(1)
        if len(sizes) == 3:
            raise ValueError("does not fit") from torch.OutOfMemoryError()
        return 1000.0 * len(sizes)

    sizes: list[int] = []
    monkeypatch.setattr(training, "peak_mb", peak_mb)
    assert training.peaks(TOY_LINES["OFAT"], "cpu", "fp32") == [1000, 2000]
    monkeypatch.setattr(training, "peak_mb", lambda call, device: int("no number"))
    with pytest.raises(ValueError, match="no number"):
        training.peaks(TOY_LINES["OFAT"], "cpu", "fp32")


def test_what_fits_follows_from_the_last_two_peaks():
    said = training.fits([9e9, 3000.0, 5000.0])  # micro-batches of 2 and 4: 1,000 MB each
    sizes = [int(n) for n in re.findall(r"(\d+) on", said)]
    assert said.startswith("1,000 MB") and sizes == [5, 19, 70]


def test_without_a_gpu_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench", "--device", "cuda"])
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert "torch sees no GPU" in capsys.readouterr().err


def test_a_gpu_has_a_class_and_a_place_on_the_page():
    machine = Machine("CUDA 9.0 80GB", 16, "2.11.0", 50_000.0, 1500.0)
    assert machine.name == "cuda-9.0-80gb"
    rows = {"scan, triton": {"ratio": {"low": 40.0, "high": 50.0}}}
    parts = {"scan": {"rows": rows, "notes": ["mamba_ssm was left out"]}}
    text = page.page({machine.name: {"instructions": machine.instructions, "parts": parts}})
    assert page.NO_GPU not in text and "| scan, triton | 40 - 50 |" in text
    assert text.index("## On a GPU") < text.index("mamba_ssm was left out")


@pytest.mark.gpu
def test_the_rates_of_a_gpu():
    found = measured("cuda", side=64, copied=1 << 16)
    assert found.name.startswith("cuda-") and found.gemm_gflops > 0
