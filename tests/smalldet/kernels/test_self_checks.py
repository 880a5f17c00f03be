"""Kernels are tried before the first forward pass, where it can be one that is recomputed."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from script_runs import execute

from smalldet.backbones.rvt import MaxViTRNN
from smalldet.backbones.vim.blocks import BidirectionalMixer
from smalldet.kernels import (
    causal_conv,
    count_conv,
    feed_forward,
    group_attention,
    lstm_update,
    onednn,
    roi_align,
    winograd,
)
from smalldet.kernels.scan import compiled

RECURRENT = tuple(
    module.KERNEL
    for module in (count_conv, feed_forward, group_attention, lstm_update, onednn, winograd)
)

# Steps of a checkpointed RVT: the first forward pass of the process, and then as if it were.
FIRST_STEPS = """
import itertools, pickle, sys
import torch
from smalldet.backbones.rvt import MaxViTRNN
from smalldet.kernels import count_conv, feed_forward, group_attention, lstm_update, onednn
from smalldet.kernels import winograd

MODULES = (count_conv, feed_forward, group_attention, lstm_update, onednn, winograd)
KERNELS = [module.KERNEL for module in MODULES]

def forget():
    for kernel in KERNELS:
        vars(kernel).pop("why_absent", None)

def step(model, bfloat16):
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        features, state = model.step(events)
        features, state = model.step(events, state)
    torch.stack([(x.float() ** 2).sum() for x in features.values()]).sum().backward()
    return [x.grad.clone() for x in model.parameters()]

events = torch.randint(0, 9, (1, 20, 64, 64), dtype=torch.uint8)
random = torch.get_rng_state()
with open(sys.argv[1], "rb") as file:
    unpickled = pickle.load(file)
assert all("why_absent" in vars(kernel) for kernel in KERNELS), "not tried when unpickled"
assert torch.equal(torch.get_rng_state(), random), "random numbers were drawn"
for width, patch, bfloat16 in itertools.product((8, 16), (2, 4), (False, True)):
    forget()
    torch.manual_seed(0)
    model = MaxViTRNN(width, dim_head=8, patch_size=patch, checkpoint=True)
    assert all("why_absent" in vars(kernel) for kernel in KERNELS), "not tried when built"
    model = unpickled if (width, patch) == (8, 4) else model
    model.checkpoint = True
    first = step(model, bfloat16)
    forget()  # the kernels are now tried inside
    again = step(model, bfloat16)
    model.checkpoint = False
    for a, b, c in zip(first, again, step(model, bfloat16)):
        assert a.isfinite().all() and torch.equal(a, c) and torch.equal(b, c)
print("all equal")
"""


def test_the_first_step_of_a_process_may_be_recomputed(tmp_path: Path) -> None:
    path, script = tmp_path / "model.pkl", tmp_path / "first_steps.py"
    path.write_bytes(pickle.dumps(MaxViTRNN(8, dim_head=8)))
    script.write_text(FIRST_STEPS)
    done = execute([sys.executable, str(script), str(path)])
    assert done.stdout == "all equal"


# As above for one model of a published size, by argument: its patch size, and whether in bfloat16.
PUBLISHED_STEP = """
import sys
import torch
from smalldet.backbones.rvt.model import VARIANTS, MaxViTRNN

model = MaxViTRNN(**VARIANTS[sys.argv[1]], patch_size=int(sys.argv[2]), checkpoint=True)
events = torch.randint(0, 9, (1, 20, 64, 64), dtype=torch.uint8)
grads = []
for model.checkpoint in (True, False):
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=sys.argv[3] == "bf16"):
        features, state = model.step(events)
        features, state = model.step(events, state)
    torch.stack([(x.float() ** 2).sum() for x in features.values()]).sum().backward()
    grads.append([x.grad.clone() for x in model.parameters()])
assert all(a.isfinite().all() and torch.equal(a, b) for a, b in zip(*grads, strict=True))
print("all equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fp32", "bf16"])
@pytest.mark.parametrize("patch", ["2", "4"])
@pytest.mark.parametrize("variant", ["tiny", "base"])
def test_a_published_size_may_recompute_the_first_step_of_a_process(variant, patch, kind) -> None:
    command = [sys.executable, "-c", PUBLISHED_STEP, variant, patch, kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "all equal\n", done.stderr


def test_a_vision_mamba_tries_its_kernels_when_it_is_built(monkeypatch) -> None:
    kernels = (causal_conv.KERNEL, compiled.KERNEL, onednn.KERNEL)
    for kernel in kernels:
        kernel.available()
        monkeypatch.delitem(vars(kernel), "why_absent")
    BidirectionalMixer(8, 2, True)
    assert all("why_absent" in vars(kernel) for kernel in kernels)


@pytest.mark.parametrize(
    "kernel", [*RECURRENT, causal_conv.KERNEL, compiled.KERNEL, roi_align.KERNEL]
)
def test_no_mode_of_the_caller_reaches_the_comparison(kernel, monkeypatch) -> None:
    if not kernel.available():
        pytest.skip(kernel.why_absent)
    monkeypatch.delitem(vars(kernel), "why_absent")
    saved, random = [], torch.get_rng_state()
    hooks = torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16), hooks:
        assert kernel.available()
    assert not saved and torch.equal(torch.get_rng_state(), random)
