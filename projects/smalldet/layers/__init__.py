"""Layers: what a model file is written in.

Flows in and out: tensors, and for recurrent layers a state. Attention, convolutions, norms,
ConvLSTM and the selective scan have slow and fast ways; the fast ones are in ``kernels``, which
this room may import, as it may ``losses``. Start reading at ``selective_scan`` or
``partition_attention``.
"""
