"""Fast versions of slow functions, each beside the plain version that it must equal.

======================= ======================================= ===================================
module                  fast                                    oracle
======================= ======================================= ===================================
``scan``                selective scan: C++, Triton, mamba_ssm  ``scan/reference.py``
``causal_conv.py``      both convolutions of a ViM block, C++   ``causal_conv1d`` and SiLU
``group_attention.py``  attention in windows and grids, C++     its formula, in ``_agrees``
``lstm_update.py``      the gates of an LSTM cell, C++          ``plain_update``
``roi_align.py``        RoIAlign of a pyramid, C++              ``torchvision.ops.RoIAlign``
``onednn.py``           products and convolutions, oneDNN       ``F.linear`` and ``F.conv2d``
======================= ======================================= ===================================

In and out: tensors, or a module with PyTorch's parameters. Callers need not know which version
runs. A fast one is taken if type, device and modes fit (float32 on a CPU, no autocast, no tracing;
each module says) and its ``KERNEL`` is available: a :class:`nativecode.CheckedKernel` that was
compiled here and agreed with its oracle once (``comparison.py``). That happens when the first
module that uses it is built or unpickled. Otherwise the plain version runs.

May import ``nativecode`` and nothing else of ours. Start with ``lstm_update.py``, the smallest.
"""
