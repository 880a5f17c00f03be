"""The Triton kernels: in Triton's interpreter by default, on a real GPU where there is one."""

from __future__ import annotations

import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from script_runs import execute

from smalldet.kernels.scan.backends import BACKENDS, resolve_backend
from smalldet.kernels.scan.check import agrees_with_reference, random_pair, random_scan, results
from smalldet.kernels.scan.fused import fused_backend

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")

# The interpreter is slow: tiny sizes, and tiny blocks, so that all edges are met.
# Whether kernels are interpreted, Triton asks when it is loaded: so it is, once more.
INTERPRETED = """
import os, sys
os.environ["TRITON_INTERPRET"] = "1"
for name in [name for name in sys.modules if name.startswith("triton.") and "._C" not in name]:
    del sys.modules[name]
sys.modules.pop("triton", None)
import torch
from vim_golden import golden, relative_error
from smalldet.kernels.scan import triton_scan
from smalldet.kernels.scan.fused import fused_backend
from smalldet.kernels.scan.reference import REFERENCE
from smalldet.kernels.scan.check import random_pair, random_scan, results
from smalldet.kernels.scan.inputs import ScanInputs

full = triton_scan.STEPS, triton_scan.CHANNELS
small = triton_scan.STEPS, triton_scan.CHANNELS = 4, 2
triton = fused_backend(triton_scan.TritonScan())
scan = random_scan(batch=1, groups=2, group_size=3, states=3, length=6)
turned = scan._replace(u=scan.u.mT.contiguous().mT, B=scan.B.mT.contiguous().mT)
bare = random_scan(batch=2, groups=1, group_size=1, states=2, length=4)
bare = bare._replace(D=None, z=None, delta_bias=None, delta=bare.u.abs(), delta_softplus=False)
pair = random_pair(batch=1, group_size=3, states=2, length=5)
last = triton.scan(bare)[1], REFERENCE.scan(bare)[1]
torch.testing.assert_close(*last, rtol=1e-4, atol=1e-5)
for inputs in (turned, bare, pair):
    for got, want in zip(results(triton, inputs), results(REFERENCE, inputs), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
GOLDEN = {"scan_L1_z": small, "scan_L64_groups2": full, "scan_grad_L37_z": (32, 8)}
for name, (triton_scan.STEPS, triton_scan.CHANNELS) in GOLDEN.items():
    arrays = golden(name)
    B, C = (x if x.dim() == 4 else x[:, None] for x in (arrays["B"], arrays["C"]))
    u, delta, A = (arrays[key] for key in ("u", "delta", "A"))
    D, z, bias = (arrays.get(key) for key in ("D", "z", "delta_bias"))
    leaves = [x if x is None else x.requires_grad_() for x in (u, delta, A, B, C, D, z, bias)]
    out = triton.scan(ScanInputs(*leaves, True))[0]
    assert relative_error(out, arrays["out"]) < 1e-5
    if "dout" in arrays:
        out.backward(arrays["dout"])
        for key, leaf in zip(("u", "delta", "A", "D", "z", "delta_bias"), leaves[:3] + leaves[5:]):
            assert relative_error(leaf.grad, arrays[f"grad_{key}"]) < 1e-5, key
print("all equal")
"""


def test_the_interpreted_kernels_equal_the_reference(tmp_path: Path) -> None:
    script = tmp_path / "interpreted.py"
    script.write_text(INTERPRETED)
    done = execute([sys.executable, str(script)])
    assert done.stdout == "all equal"


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_the_kernels_compile_without_a_gpu(
    capability: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a launch would, up to the machine code: the compiler is stricter than the interpreter."""
    compiler = pytest.importorskip("triton.compiler")
    target = pytest.importorskip("triton.backends.compiler").GPUTarget("cuda", capability, 32)
    jit = pytest.importorskip("triton.runtime.jit")
    from smalldet.kernels.scan import triton_scan

    backend, names = compiler.make_backend(target), []

    def compiling(kernel: Any) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            bind = jit.create_function_from_signature(kernel.signature, kernel.params, backend)
            bound, specialization, chosen = bind(*arguments, debug=False, **options)
            packed = kernel._pack_args(backend, options, bound, specialization, chosen)
            source = compiler.ASTSource(kernel, *packed[1:])
            built = triton_compile(source, target=target, options=packed[0].__dict__)
            names.append(kernel.__name__)
            assert built.asm["cubin"]

        return defaultdict(lambda: launch)

    triton_compile = compiler.compile
    for name in ("scan_forward", "scan_backward"):
        monkeypatch.setattr(triton_scan, name, compiling(getattr(triton_scan, name)))
    kernels = fused_backend(triton_scan.TritonScan())
    scan = random_scan(batch=1, groups=2, group_size=20, states=11, length=70)
    bare = scan._replace(D=None, z=None, delta_bias=None, delta_softplus=False)
    for inputs in (scan, bare, random_pair(batch=1, group_size=20, states=16, length=70)):
        results(kernels, inputs)
    assert names.count("scan_backward") == 4


@pytest.mark.gpu
def test_on_a_gpu_the_kernels_equal_the_reference() -> None:
    assert agrees_with_reference(BACKENDS["triton"], "cuda")
    assert resolve_backend("auto", "cuda") in ("triton", "mamba_ssm")


@pytest.mark.gpu
@pytest.mark.parametrize("length", [1, 31, 33, 1601])
def test_full_sizes_on_a_gpu(length: int) -> None:
    scan = random_scan(2, 1, 384, 16, length, device="cuda")
    pair = random_pair(2, 384, states=16, length=length, device="cuda")
    for inputs in (scan, pair):
        got, want = (results(BACKENDS[name], inputs) for name in ("triton", "chunked"))
        for a, b in zip(got, want, strict=True):
            assert float((a - b).abs().max() / b.abs().max().clamp(min=1e-6)) < 1e-3


@pytest.mark.gpu
def test_a_gpu_gives_the_same_digits_again() -> None:
    pair = random_pair(2, 64, states=16, length=200, device="cuda")
    first, second = (results(BACKENDS["triton"], pair) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
