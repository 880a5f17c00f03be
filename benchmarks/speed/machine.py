"""What decides speed on a machine: instruction sets, threads, dense products, copies."""

from __future__ import annotations

import statistics
from typing import NamedTuple

import torch

from benchmarks.measure import Call, repeats_of, sample
from smalldet.layers.precision import bf16_instructions

SIDE = 2048  # of the square matrices, float32
COPIED = 1 << 28  # bytes, more than caches hold
ROUNDS = 5


class Machine(NamedTuple):
    """A machine without a name: what two of a class have in common, and its measured rates."""

    instructions: str  # of the CPU, or of the GPU its compute capability and memory
    threads: int
    torch: str
    gemm_gflops: float
    copy_gb_s: float  # GB copied a second; each is read once and written once

    @property
    def name(self) -> str:
        """Of its class: ``avx2-2threads``, ``avx512-bf16-amx-8threads``, ``cuda-9.0-80gb``."""
        words = self.instructions.lower().split()
        return "-".join(words if words[0] == "cuda" else [*words, f"{self.threads}threads"])

    def __str__(self) -> str:
        return (
            f"{self.instructions}, {self.threads} threads, torch {self.torch}: "
            f"{self.gemm_gflops:,.0f} GFLOP/s in float32 products of {SIDE}, "
            f"{self.copy_gb_s:.1f} GB/s copied"
        )


def measured(device: str = "cpu", side: int = SIDE, copied: int = COPIED) -> Machine:
    """Measure the machine; a few seconds.

    Args:
        device: "cpu" or "cuda".
        side: of the matrices that are multiplied.
        copied: bytes in each copy.
    """
    a, b = torch.randn(2, side, side, device=device)
    source = torch.ones(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = median_ms(finished(lambda: torch.mm(a, b), device))
    copy = median_ms(finished(lambda: target.copy_(source), device))
    return Machine(
        instructions_of(device),
        torch.get_num_threads(),
        torch.__version__.partition("+")[0],
        2 * side**3 / product / 1e6,
        copied / copy / 1e6,
    )


def instructions_of(device: str) -> str:
    """``AVX2``, ``AVX512 BF16 AMX``; of a GPU ``CUDA 9.0 80GB``."""
    if device == "cuda":
        card = torch.cuda.get_device_properties(device)
        return f"CUDA {card.major}.{card.minor} {card.total_memory / 2**30:.0f}GB"
    return " ".join([torch.backends.cpu.get_cpu_capability(), *bf16_instructions()])


def finished(call: Call, device: str) -> Call:
    """``call``, which returns when a GPU has done its work."""
    if device != "cuda":
        return call

    def waiting() -> None:
        call()
        torch.cuda.synchronize()

    return waiting


def median_ms(call: Call) -> float:
    repeats = repeats_of(call)
    return statistics.median(sample(call, repeats) for _ in range(ROUNDS))
