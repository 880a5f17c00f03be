"""The selective scan: one recurrence, six backends, all beside ``reference.py``.

In: ``ScanInputs``, or a ``ScanPair`` of two directions. Out: the output and the last state, with
gradients for every tensor. ``smalldet.layers.selective_scan`` checks the arguments and calls.

========== ====================================================== ========================
backend    how                                                    where
========== ====================================================== ========================
reference  the definition, a step at a time: the oracle           anywhere
chunked    PyTorch's operations on chunks of steps                anywhere, and for tracers
looped     PyTorch's loop operator, a single node of a graph      ``torch.export`` alone
compiled   ``csrc/selective_scan.cpp``; ``fused.py`` around it    CPU
triton     ``triton_kernels.py``; ``fused.py`` around it          CUDA, float32
mamba_ssm  the published operator, where it is installed          CUDA, float32
========== ====================================================== ========================

``backends.py`` chooses: "auto" is the quickest kernel of the device that agreed with the reference
(outputs and gradients, ``check.py``), else "chunked". A backend asked for by its name is that or a
ValueError. All compute in float32, and in float64 to its last digits if the input is float64.

Imports ``nativecode`` and the kernels beside it. Start with ``inputs.py``, then ``reference.py``.
"""
