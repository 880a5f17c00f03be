"""Painted people: a head in one of several looks, on shoulders, in a varied pose.

Measures are in heads: one unit is the height of the head, the origin its centre, v points down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toydata.heads.painting import Canvas, Colour, pick, rotation, shade, vary

SKINS = (
    (248, 214, 184),
    (238, 190, 152),
    (222, 168, 125),
    (186, 128, 88),
    (140, 90, 60),
    (96, 62, 44),
)
HAIRS = ((28, 24, 24), (52, 36, 28), (92, 60, 36), (138, 92, 48), (206, 166, 98), (168, 164, 160))
# Clothes and places (scenery.py) are cool or grey: warm colours are mostly skin, in all its tones.
CLOTHES = (
    (58, 84, 132),
    (84, 62, 118),
    (62, 110, 84),
    (64, 128, 136),
    (208, 212, 216),
    (66, 68, 86),
    (104, 150, 196),
    (120, 148, 176),
    (132, 104, 160),
    (44, 48, 60),
)
LOOKS = ("short", "short", "long", "bun", "bald", "cap", "beanie", "scarf", "behind", "short")
_DETAIL_PX = 9.0  # below this head height eyes and mouth would only be noise


@dataclass(frozen=True)
class Pose:
    """A head: centre (px), height (px), tilt (degrees clockwise), turn (-1 left to 1 right)."""

    x: float
    y: float
    size: float
    tilt: float
    turn: float

    def at(self, u: float | np.ndarray, v: float | np.ndarray) -> np.ndarray:
        """Head coordinates to image pixels, tilted with the head."""
        local = np.stack(np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float)), axis=-1)
        return local @ rotation(self.tilt).T * self.size + (self.x, self.y)

    def below(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Body coordinates to image pixels; the body stays upright."""
        return np.stack([self.x + u * self.size, self.y + v * self.size], axis=-1)


def random_pose(rng: np.random.Generator, x: float, y: float, size: float) -> Pose:
    """A pose at the given place with a random tilt and turn."""
    tilt = float(np.clip(rng.normal(0, 8), -22, 22))
    return Pose(x, y, size, tilt, float(rng.uniform(-1, 1)))


def paint_person(canvas: Canvas, rng: np.random.Generator, pose: Pose, label: int) -> None:
    """Body first, then the head, whose pixels get ``label``."""
    skin = vary(rng, pick(rng, SKINS), 8)
    hair = vary(rng, pick(rng, HAIRS), 8)
    clothes = vary(rng, pick(rng, CLOTHES), 14)
    look = str(pick(rng, LOOKS))
    _paint_body(canvas, rng, pose, clothes, skin)
    _paint_behind_face(canvas, pose, look, hair, clothes, label)
    _paint_face(canvas, rng, pose, skin, hair, look, label)
    _paint_hair(canvas, rng, pose, look, hair, label)


def _paint_body(
    canvas: Canvas, rng: np.random.Generator, pose: Pose, clothes: Colour, skin: Colour
) -> None:
    width = rng.uniform(0.92, 1.15)
    hips, hem = rng.uniform(0.55, 0.72), rng.uniform(2.7, 3.2)
    _paint_legs(canvas, rng, pose, hips, hem)
    right_u = np.array([0.16, 0.42, 0.78, 0.95, 1.0]) * width
    right_v = np.array([0.50, 0.60, 0.72, 0.98, 1.4])
    u = np.concatenate([-right_u[::-1], right_u, [hips, -hips]])
    v = np.concatenate([right_v[::-1], right_v, [hem, hem]])
    canvas.polygon(pose.below(u, v), shade(clothes, 0.78))
    canvas.polygon(pose.below(u * 0.86 - 0.08, v + 0.03), clothes)
    for side in (-1, 1):
        elbow, hand = rng.uniform(1.0, 1.25) * side, rng.uniform(0.75, 1.2) * side
        arm = pose.below(np.array([0.85 * width * side, elbow, hand]), np.array([0.9, 1.8, 2.6]))
        canvas.line(arm[0], arm[1], 0.32 * pose.size, shade(clothes, 0.88))
        canvas.line(arm[1], arm[2], 0.28 * pose.size, shade(clothes, 0.84))
    collar = np.array([-0.17, 0.17, 0.2, 0.0, -0.2]), np.array([0.25, 0.25, 0.58, 0.82, 0.58])
    canvas.polygon(pose.below(*collar), shade(skin, 0.8))


def _paint_legs(
    canvas: Canvas, rng: np.random.Generator, pose: Pose, hips: float, hem: float
) -> None:
    trousers = vary(rng, pick(rng, ((52, 58, 78), (70, 74, 76), (36, 38, 44), (100, 104, 110))), 8)
    for side in (-1, 1):
        foot = side * rng.uniform(0.25, 0.7)
        leg = pose.below(np.array([side * hips * 0.5, foot]), np.array([hem - 0.2, hem + 3.4]))
        canvas.line(leg[0], leg[1], 0.5 * pose.size, shade(trousers, 1.0 if side > 0 else 0.85))


def _paint_behind_face(
    canvas: Canvas, pose: Pose, look: str, hair: Colour, clothes: Colour, label: int
) -> None:
    if look == "long":
        _oval(canvas, pose, (0.0, 0.1), (0.46, 0.58), shade(hair, 0.85), label)
    if look == "scarf":
        _oval(canvas, pose, (0.0, 0.05), (0.46, 0.57), shade(clothes, 1.12), label)
    if look == "bun":
        _oval(canvas, pose, (-0.1 * pose.turn, -0.53), (0.17, 0.16), hair, label)


def _paint_face(
    canvas: Canvas,
    rng: np.random.Generator,
    pose: Pose,
    skin: Colour,
    hair: Colour,
    look: str,
    label: int,
) -> None:
    if look not in ("long", "scarf"):
        for side in (-1, 1):
            _oval(canvas, pose, (0.37 * side, 0.03), (0.07, 0.12), shade(skin, 0.85), label)
    if look == "behind":
        _oval(canvas, pose, (0, 0), (0.39, 0.5), shade(hair, 0.9), label)
        _oval(canvas, pose, (-0.06, -0.05), (0.3, 0.4), shade(hair, 1.15), label)
        return
    radii = (0.33, 0.45) if look == "scarf" else (0.38, 0.5)
    _oval(canvas, pose, (0, 0), radii, shade(skin, 0.84), label)
    _oval(canvas, pose, (-0.035, -0.01), (radii[0] * 0.88, radii[1] * 0.94), skin, label)
    if pose.size * canvas.scale >= _DETAIL_PX:
        _paint_features(canvas, rng, pose, skin, hair, label)


def _paint_features(
    canvas: Canvas, rng: np.random.Generator, pose: Pose, skin: Colour, hair: Colour, label: int
) -> None:
    middle = 0.1 * pose.turn
    if rng.random() < 0.18:  # a beard
        canvas.ellipse(
            pose.at(0.0, 0.14),
            (0.34 * pose.size, 0.35 * pose.size),
            shade(hair, 1.05),
            label,
            pose.tilt,
            (0, 180),
        )
    for side in (-1, 1):
        u = middle + 0.15 * side
        _oval(canvas, pose, (u, -0.01), (0.065, 0.05), (245, 242, 238), label)
        _oval(canvas, pose, (u + 0.02 * pose.turn, -0.01), (0.036, 0.046), (36, 28, 26), label)
        _oval(canvas, pose, (u, -0.125), (0.075, 0.016), shade(hair, 0.9), label)
    _oval(canvas, pose, (middle * 1.4, 0.11), (0.045, 0.08), shade(skin, 0.82), label)
    mouth = 0.06 + 0.05 * rng.random()
    _oval(canvas, pose, (middle, 0.28), (mouth + 0.04, 0.03), (164, 82, 78), label)


def _paint_hair(
    canvas: Canvas, rng: np.random.Generator, pose: Pose, look: str, hair: Colour, label: int
) -> None:
    size = pose.size
    if look in ("short", "long", "bun"):
        fringe = rng.uniform(-0.2, -0.1)
        radii = (0.42 * size, (0.56 + fringe) * size)
        canvas.ellipse(pose.at(0, fringe), radii, hair, label, pose.tilt, (172, 368))
        _oval(canvas, pose, (-0.12, fringe - 0.2), (0.16, 0.07), shade(hair, 1.18), label)
    elif look in ("cap", "beanie"):
        fabric = vary(rng, pick(rng, CLOTHES), 20)
        canvas.ellipse(
            pose.at(0, -0.14), (0.43 * size, 0.44 * size), fabric, label, pose.tilt, (180, 360)
        )
        front = 0.25 * pose.turn if look == "cap" else 0.0
        band = np.array([-0.42, 0.42, 0.42, -0.42]) + front, np.array([-0.2, -0.2, -0.1, -0.1])
        canvas.polygon(pose.at(*band), shade(fabric, 0.75), label)
    elif look == "bald" and rng.random() < 0.6:
        for side in (-1, 1):
            _oval(canvas, pose, (0.34 * side, -0.06), (0.06, 0.14), hair, label)


def _oval(
    canvas: Canvas,
    pose: Pose,
    centre: tuple[float, float],
    radii: tuple[float, float],
    colour: Colour,
    label: int,
) -> None:
    """An ellipse in head coordinates."""
    scaled = (radii[0] * pose.size, radii[1] * pose.size)
    canvas.ellipse(pose.at(*centre), scaled, colour, label, pose.tilt)
