"""Losses: pure functions on tensors, and thin modules around them.

Flows in: predictions and targets of N objects; out: a loss an object, or their mean or sum. May
import layers and kernels. Start reading at ``iou``; ``size_aware`` weighs any loss by object size,
``class_balance`` draws as many samples of each class.
"""
