"""Fast versions of slow functions, each beside the plain version that it must equal.

======================= ======================================= ===================================
module                  fast                                    oracle
======================= ======================================= ===================================
``scan``                selective scan: C++, Triton, mamba_ssm  ``scan/reference.py``
``causal_conv.py``      both convolutions of a ViM block, C++   ``causal_conv1d`` and SiLU
``count_conv.py``       convolution of sparse counts, C++       ``plain_convolution``
``feed_forward.py``     half of a transformer block, C++        ``plain_feed_forward``
``conv_gradient.py``    backward passes of 3x3 convolutions     ``F.conv2d``
``group_attention.py``  attention in windows and grids, C++     its formula, in ``_agrees``
``lstm_update.py``      an LSTM cell, C++                       ``plain_update``
``onednn.py``           products and convolutions, oneDNN       ``F.linear`` and ``F.conv2d``
``roi_align.py``        RoIAlign of a pyramid, C++              ``torchvision.ops.RoIAlign``
``winograd.py``         3x3 convolutions, C++                   ``F.conv2d``
======================= ======================================= ===================================

In and out: tensors, or a module with PyTorch's parameters. Callers need not know which version
runs. A fast one is taken if type, device and modes fit (float32 on a CPU, no autocast, no tracing;
each module says) and its ``KERNEL`` is available: a :class:`nativecode.CheckedKernel` that was
compiled here and agreed with its oracle once (``comparison.py``). That happens when the first
module that uses it is built or unpickled. Otherwise the plain version runs.

What has no backward pass is for inference (``inference.py``): a stage of RVT then goes through the
memory once a kernel, and what lies between its products stays in the cache. Those products are
``csrc/product.h``, of weights that ``product.py`` lays out.

May import ``nativecode`` and nothing else of ours. Start with ``lstm_update.py``, the smallest.
"""
