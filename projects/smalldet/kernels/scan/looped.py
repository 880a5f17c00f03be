"""The recurrence of the selective scan as one loop operator, for exported programs.

A tracer writes down every step that it sees: 1601 tokens and 24 blocks of ViM-Tiny would be a graph
of a hundred thousand nodes. PyTorch's ``scan`` operator stays a single node, ONNX's ``Scan``.
Memory grows with L * D * N: 80 MB in such a block.

Shape shorthand: L steps, B batch, G groups, N states, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from smalldet.kernels.scan.inputs import ScanInputs, skip_and_gate, step_sizes, with_plain_delta


def looped_scan(inputs: ScanInputs) -> tuple[Tensor, Tensor]:
    """Output (B, D, L) and last state (B, D, N); only inside of ``torch.export``."""
    from torch._higher_order_ops.scan import scan  # loads much of the compiler

    inputs = with_plain_delta(inputs)
    batch, groups, states, _ = inputs.B.shape
    u, dt = (_time_first(x, groups) for x in (inputs.u, step_sizes(inputs)))  # (L, B, G, D / G)
    B, C = (x.permute(3, 0, 1, 2) for x in (inputs.B, inputs.C))  # (L, B, G, N)
    A = inputs.A.unflatten(0, (groups, -1))  # (G, D / G, N)

    def step(h: Tensor, now: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        decay, addition = now
        h = decay * h + addition
        return h, h.clone()  # outputs of a loop may not share memory

    # The runtime pays for each operation of each step, so all that can be done at once is.
    decays = torch.exp(dt[..., None] * A)
    additions = (dt * u)[..., None] * B[..., None, :]
    start = u.new_zeros(batch, groups, u.shape[3], states)
    last, found = scan(step, start, (decays, additions))  # found: (L, B, G, D / G, N)
    y = (found @ C[..., None])[..., 0]
    return skip_and_gate(y.flatten(2).permute(1, 2, 0), inputs), last.flatten(1, 2)


def _time_first(x: Tensor, groups: int) -> Tensor:
    """(B, D, L) -> (L, B, G, D / G)."""
    return x.permute(2, 0, 1).unflatten(-1, (groups, -1))
