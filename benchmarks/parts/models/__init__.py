"""Kernels, backbones and training steps, against published code or the library that is named."""
