"""Flip, zoom and rotation of sequences: ``sequence`` draws and applies, ``ops`` does the work.

Flows in and out: events (T, C, H, W) and the boxes of each step.
"""
