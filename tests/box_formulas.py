"""Box losses of one pair of boxes, in Python's numbers: what tensors are compared with."""

from __future__ import annotations

import math

import torch


def by_the_formula(kind: str, a: list[float], b: list[float], size: float = 12.8) -> float:
    """The loss of one pair, in Python's numbers."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    union = sum(areas) - width * height
    iou = width * height / union
    hull = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    middles = [((x[0] + x[2]) / 2, (x[1] + x[3]) / 2) for x in (a, b)]
    sides = [(x[2] - x[0], x[3] - x[1]) for x in (a, b)]
    distance = math.dist(*middles) ** 2 / math.hypot(*hull) ** 2
    angles = [math.atan(w / h) for w, h in sides]
    shape = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    weighed = shape**2 / (1 - iou + shape) if shape else 0.0
    if kind == "nwd":
        return 1 - math.exp(-wasserstein(middles, sides) / size)
    area = hull[0] * hull[1]
    return {
        "iou": 1 - iou**2,
        "giou": 1 - iou + (area - union) / area,
        "diou": 1 - iou + distance,
        "ciou": 1 - iou + distance + weighed,
    }[kind]


def wasserstein(means: list, sides: list) -> float:
    """The 2nd Wasserstein distance of two normal distributions, by its formula for matrices."""
    first, second = (torch.diag(torch.tensor(s, dtype=torch.float64) / 2) ** 2 for s in sides)
    root = first.sqrt()  # of a diagonal matrix
    cross = (root @ second @ root).sqrt()
    spread = torch.trace(first + second - 2 * cross)
    return math.sqrt(math.dist(*means) ** 2 + float(spread))
