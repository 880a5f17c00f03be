"""Road users, painted from their outlines: one picture per view and phase of movement.

Coordinates and luminance are those of the canvas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from toydata.streets.canvas import Canvas, Sprite

PHASES = 8  # of a step or a turn of the pedals


@dataclass(frozen=True)
class Kind:
    """A class of road users.

    Attributes:
        name: as in eTraM's list of classes.
        size: length, width and height, metres.
        roof: width of a vehicle at the top, seen from the front; relative to the whole.
        stride_m: way per double step or turn of the pedals, metres; None where nothing turns.
    """

    name: str
    size: tuple[float, float, float]
    roof: float | None = None
    stride_m: float | None = None

    @property
    def phases(self) -> int:
        """Pictures of one individual: more than one of those who move legs."""
        return PHASES if self.stride_m else 1


KINDS = {
    kind.name: kind
    for kind in (
        Kind("pedestrian", (0.8, 0.6, 1.75), stride_m=1.4),
        Kind("car", (4.3, 1.8, 1.5), roof=0.82),
        Kind("bicycle", (1.8, 0.65, 1.75), stride_m=4.5),
        Kind("bus", (9.0, 2.5, 3.1), roof=0.96),
        Kind("motorbike", (2.1, 0.8, 1.5)),
        Kind("truck", (6.6, 2.4, 3.0), roof=0.98),
    )
}


def sprites_of(
    rng: np.random.Generator,
    kind: Kind,
    width_m: float,
    height_m: float,
    side_view: bool,
    flipped: bool,
    px_per_metre: float,
) -> Callable[[int], Sprite]:
    """The pictures of one individual by phase, each painted when it is first asked for.

    Of all who are drawn for a street, few are seen, and those not in every phase.

    Args:
        rng: decides its colours and texture.
        kind: what it is.
        width_m: visible width, metres.
        height_m: visible height, metres.
        side_view: seen from the side, heading right; else from the front.
        flipped: mirror it, so that it heads left.
        px_per_metre: of the finest level.
    """
    looks = _Looks(rng)

    @cache
    def paint(phase: int) -> Sprite:
        canvas = Canvas(width_m, height_m, px_per_metre)
        if kind.roof and not side_view:
            _paint_front(canvas, looks, kind.roof)
        else:
            _PAINTERS[kind.name](canvas, looks, side_view, phase / kind.phases)
        return canvas.sprite(looks.texture, flipped)

    return paint


def pole_of(
    rng: np.random.Generator, width_m: float, height_m: float, px_per_metre: float
) -> Callable[[int], Sprite]:
    """The one picture of a lamp post or a trunk, which may hide those behind it."""
    canvas = Canvas(width_m, height_m, px_per_metre)
    canvas.box(0, 0, width_m, height_m, float(rng.uniform(0.05, 0.15)))
    sprite = canvas.sprite(np.ones((2, 2), np.float32), flipped=False)
    return lambda _phase: sprite


class _Looks:
    """Colours of one individual."""

    def __init__(self, rng: np.random.Generator) -> None:
        light = rng.random() < 0.5  # the road is of middle grey: few vanish in front of it
        self.body = float(rng.uniform(0.55, 0.95) if light else rng.uniform(0.05, 0.16))
        self.second = float(rng.choice([rng.uniform(0.5, 0.9), rng.uniform(0.04, 0.14)]))
        self.glass = float(rng.uniform(0.06, 0.14) if light else rng.uniform(0.3, 0.6))
        self.skin = float(rng.uniform(0.15, 0.7))
        self.parts = rng.random(6)
        noise = rng.normal(0, 0.12, (8, 8)).astype(np.float32)
        self.texture = np.exp(np.clip(noise, -0.3, 0.3))


_DARK = 0.03


def _wheels(canvas: Canvas, places: Sequence[float], radius: float) -> None:
    for x in places:
        canvas.oval(x, radius, radius, radius, _DARK)
        canvas.oval(x, radius, 0.5 * radius, 0.5 * radius, 0.45)


def _paint_car(canvas: Canvas, looks: _Looks, _side: bool, _phase: float) -> None:
    w, h = canvas.width_m, canvas.height_m
    belt, front, rear = 0.6 * h, (0.62 + 0.1 * looks.parts[0]) * w, 0.14 * looks.parts[1] * w
    outline = [(0.01 * w, 0.16 * h), (0.99 * w, 0.16 * h), (0.99 * w, 0.42 * h), (0.9 * w, belt)]
    roof = [(front + 0.12 * w, belt), (front, 0.99 * h), (rear + 0.1 * w, 0.99 * h), (rear, belt)]
    canvas.polygon([*outline, *roof, (0.01 * w, 0.55 * h)], looks.body)
    panes = [(front + 0.07 * w, belt), (front - 0.02 * w, 0.92 * h)]
    canvas.polygon([*panes, (rear + 0.12 * w, 0.92 * h), (rear + 0.05 * w, belt)], looks.glass)
    canvas.box(0.4 * w, belt, 0.42 * w, 0.95 * h, looks.body)
    canvas.box(0.95 * w, 0.4 * h, 0.99 * w, 0.5 * h, 0.95)
    _wheels(canvas, (0.2 * w, 0.8 * w), 0.21 * h)


def _paint_front(canvas: Canvas, looks: _Looks, roof: float) -> None:
    """A car, van, truck or bus from before or behind; ``roof``: its width at the top."""
    w, h = canvas.width_m, canvas.height_m
    inset = (1 - roof) / 2 * w
    for x in (0.04 * w, 0.78 * w):
        canvas.box(x, 0, x + 0.18 * w, 0.25 * h, _DARK)
    lower = [(0, 0.12 * h), (w, 0.12 * h), (w, 0.55 * h)]
    canvas.polygon([*lower, (w - inset, 0.99 * h), (inset, 0.99 * h), (0, 0.55 * h)], looks.body)
    low, high = (0.56, 0.92) if roof < 0.9 else (0.45, 0.85)
    pane = [(0.07 * w, low * h), (0.93 * w, low * h), (0.97 * w - inset, high * h)]
    canvas.polygon([*pane, (0.03 * w + inset, high * h)], looks.glass)
    for x in (0.04 * w, 0.8 * w):
        canvas.box(x, 0.3 * h, x + 0.16 * w, 0.42 * h, 0.98)
    canvas.box(0.35 * w, 0.2 * h, 0.65 * w, 0.3 * h, 0.6 if looks.body < 0.3 else 0.1)


def _paint_truck(canvas: Canvas, looks: _Looks, _side: bool, _phase: float) -> None:
    w, h = canvas.width_m, canvas.height_m
    canvas.box(0.01 * w, 0.17 * h, 0.99 * w, 0.26 * h, _DARK)
    canvas.box(0, 0.24 * h, 0.7 * w, h, looks.body)
    cab = [(0.73 * w, 0.16 * h), (w, 0.16 * h), (w, 0.45 * h), (0.94 * w, 0.8 * h)]
    canvas.polygon([*cab, (0.73 * w, 0.8 * h)], looks.second)
    pane = [(0.83 * w, 0.46 * h), (0.98 * w, 0.46 * h), (0.92 * w, 0.75 * h)]
    canvas.polygon([*pane, (0.83 * w, 0.75 * h)], 0.12 if looks.second > 0.3 else 0.6)
    _wheels(canvas, (0.13 * w, 0.27 * w, 0.85 * w), 0.15 * h)


def _paint_bus(canvas: Canvas, looks: _Looks, _side: bool, _phase: float) -> None:
    w, h = canvas.width_m, canvas.height_m
    canvas.box(0, 0.1 * h, w, h, looks.body)
    canvas.box(0, 0.2 * h, w, 0.3 * h, looks.second)
    panes = 7
    for number in range(panes):
        x = (0.03 + 0.96 * number / panes) * w
        canvas.box(x, 0.48 * h, x + 0.8 * w / panes * 0.98, 0.86 * h, looks.glass)
    canvas.box(0.8 * w, 0.14 * h, 0.88 * w, 0.86 * h, looks.glass)
    _wheels(canvas, (0.18 * w, 0.72 * w), 0.15 * h)


def _paint_motorbike(canvas: Canvas, looks: _Looks, side: bool, _phase: float) -> None:
    w, h = canvas.width_m, canvas.height_m
    if not side:
        canvas.box(0.4 * w, 0, 0.6 * w, 0.45 * h, _DARK)
        canvas.oval(0.5 * w, 0.58 * h, 0.45 * w, 0.27 * h, looks.second)
        canvas.oval(0.5 * w, 0.42 * h, 0.3 * w, 0.17 * h, looks.body)
        canvas.oval(0.5 * w, 0.5 * h, 0.16 * w, 0.16 * w, 0.98)
        canvas.oval(0.5 * w, 0.88 * h, 0.2 * w, 0.11 * h, looks.glass)
        return
    body = [(0.08 * w, 0.5 * h), (0.3 * w, 0.25 * h), (0.66 * w, 0.22 * h), (0.86 * w, 0.5 * h)]
    _wheels(canvas, (0.17 * w, 0.83 * w), 0.2 * h)
    canvas.polygon([*body, (0.7 * w, 0.66 * h), (0.4 * w, 0.52 * h)], looks.body)
    canvas.bar((0.72 * w, 0.66 * h), (0.83 * w, 0.2 * h), 0.08, 0.5)
    canvas.bar((0.36 * w, 0.5 * h), (0.5 * w, 0.84 * h), 0.2 * w, looks.second)
    canvas.bar((0.38 * w, 0.52 * h), (0.56 * w, 0.34 * h), 0.13 * w, looks.second * 0.6)
    canvas.bar((0.5 * w, 0.76 * h), (0.7 * w, 0.64 * h), 0.06 * w, looks.second)
    canvas.oval(0.55 * w, 0.9 * h, 0.085 * w, 0.095 * h, looks.glass)


def _paint_bicycle(canvas: Canvas, looks: _Looks, side: bool, phase: float) -> None:
    w, h = canvas.width_m, canvas.height_m
    turn = 2 * np.pi * phase
    if not side:
        canvas.box(0.46 * w, 0, 0.54 * w, 0.4 * h, _DARK)
        for x, lift in ((0.34, np.sin(turn)), (0.66, -np.sin(turn))):
            canvas.bar((x * w, (0.17 + 0.05 * lift) * h), (x * w, 0.5 * h), 0.13, looks.second)
        canvas.oval(0.5 * w, 0.64 * h, 0.3 * w, 0.2 * h, looks.body)
        canvas.bar((0.02 * w, 0.58 * h), (0.98 * w, 0.58 * h), 0.06, looks.skin)
        canvas.oval(0.5 * w, 0.91 * h, 0.19 * w, 0.085 * h, looks.skin)
        return
    hub, saddle, bar = 0.19 * h, (0.36 * w, 0.52 * h), (0.72 * w, 0.58 * h)
    crank = (0.46 * w, 0.19 * h)
    for x in (0.19 * w, 0.81 * w):
        canvas.ring(x, hub, 0.9 * hub, 0.06, _DARK)
    for start, end in ((saddle, crank), (crank, bar), (saddle, bar), ((0.19 * w, hub), crank)):
        canvas.bar(start, end, 0.05, looks.glass)
    canvas.bar(bar, (0.81 * w, hub), 0.05, looks.glass)
    for side_turn in (turn, turn + np.pi):
        foot = (crank[0] + 0.09 * h * np.cos(side_turn), crank[1] - 0.09 * h * np.sin(side_turn))
        canvas.bar(saddle, foot, 0.14, looks.second)
    canvas.bar((saddle[0], 0.5 * h), (0.52 * w, 0.84 * h), 0.26, looks.body)
    canvas.bar((0.52 * w, 0.76 * h), bar, 0.08, looks.skin)
    canvas.oval(0.57 * w, 0.92 * h, 0.06 * w, 0.075 * h, looks.skin)


def _paint_pedestrian(canvas: Canvas, looks: _Looks, side: bool, phase: float) -> None:
    w, h = canvas.width_m, canvas.height_m
    swing = np.sin(2 * np.pi * phase) * (0.34 if side else 0.08) * w
    apart = 0.04 * w if side else 0.13 * w
    for sign, shade in ((-1, 0.8), (1, 1.0)):
        hip = (0.5 * w + sign * apart, 0.5 * h)
        foot = (hip[0] + sign * swing, 0.02 * h + 0.02 * h * abs(np.sin(2 * np.pi * phase)))
        canvas.bar(hip, foot, 0.17, looks.second * shade)
    half = 0.19 if side else 0.24
    canvas.oval(0.5 * w, 0.65 * h, half, 0.2 * h, looks.body)
    for sign in (-1, 1):
        shoulder = (0.5 * w + sign * (0.0 if side else 0.22), 0.78 * h)
        hand = (shoulder[0] - sign * 0.8 * swing, 0.48 * h)
        canvas.bar(shoulder, hand, 0.09, looks.body * 0.75)
    canvas.oval(0.5 * w, 0.915 * h, 0.11, 0.08 * h, looks.skin)


_PAINTERS: dict[str, Callable[[Canvas, _Looks, bool, float], None]] = {
    "pedestrian": _paint_pedestrian,
    "car": _paint_car,
    "bicycle": _paint_bicycle,
    "bus": _paint_bus,
    "motorbike": _paint_motorbike,
    "truck": _paint_truck,
}
