"""Painted people: a head in one of several looks, on shoulders, in a varied pose.

Measures are in heads: one unit is the height of the head, the origin its centre, v points down.
"""

from __future__ import annotations

import numpy as np

from toydata.heads.painting import Canvas, Colour, palette, pick, rotation, shade, vary

SKINS = palette("f8d6b8 eebe98 dea87d ba8058 8c5a3c 603e2c")
HAIRS = palette("1c1818 34241c 5c3c24 8a5c30 cea662 a8a4a0")
# Clothes and places (scenery.py) are cool or grey: warm colours are mostly skin, in all its tones.
CLOTHES = palette("3a5484 543e76 3e6e54 408088 d0d4d8 424456 6896c4 7894b0 8468a0 2c303c")
TROUSERS = palette("343a4e 464a4c 24262c 64686e")
LOOKS = ("short", "short", "long", "bun", "bald", "cap", "beanie", "scarf", "behind", "short")
_DETAIL_PX = 9.0  # below this head height eyes and mouth would only be noise


class Person:
    """Somebody with a random look and pose.

    Args:
        canvas: where to paint.
        rng: the only source of randomness.
        x: centre of the head, px; ``y`` likewise.
        y: see ``x``.
        size: height of the head, px.
        label: what the pixels of the head get.
    """

    def __init__(
        self, canvas: Canvas, rng: np.random.Generator, x: float, y: float, size: float, label: int
    ) -> None:
        self.canvas, self.rng, self.label = canvas, rng, label
        self.x, self.y, self.size = x, y, size
        self.tilt = float(np.clip(rng.normal(0, 8), -22, 22))  # degrees clockwise
        self.turn = float(rng.uniform(-1, 1))  # from left to right
        self.skin = vary(rng, pick(rng, SKINS), 8)
        self.hair = vary(rng, pick(rng, HAIRS), 8)
        self.clothes = vary(rng, pick(rng, CLOTHES), 14)
        self.look = str(pick(rng, LOOKS))

    def paint(self) -> None:
        """Body first, then the head."""
        self._paint_body()
        self._paint_behind_face()
        self._paint_face()
        self._paint_hair()

    def _at(self, u: float | np.ndarray, v: float | np.ndarray) -> np.ndarray:
        """Head coordinates to image pixels, tilted with the head."""
        local = np.stack(np.broadcast_arrays(np.asarray(u, float), np.asarray(v, float)), axis=-1)
        return local @ rotation(self.tilt).T * self.size + (self.x, self.y)

    def _below(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Body coordinates to image pixels; the body stays upright."""
        return np.stack([self.x + u * self.size, self.y + v * self.size], axis=-1)

    def _oval(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        colour: Colour,
        arc: tuple[float, float] = (0.0, 360.0),
    ) -> None:
        """An ellipse of the head, or a part of one."""
        scaled = (radii[0] * self.size, radii[1] * self.size)
        self.canvas.ellipse(self._at(*centre), scaled, colour, self.label, self.tilt, arc)

    def _paint_body(self) -> None:
        rng, canvas = self.rng, self.canvas
        width = rng.uniform(0.92, 1.15)
        hips, hem = rng.uniform(0.55, 0.72), rng.uniform(2.7, 3.2)
        self._paint_legs(hips, hem)
        right_u = np.array([0.16, 0.42, 0.78, 0.95, 1.0]) * width
        right_v = np.array([0.50, 0.60, 0.72, 0.98, 1.4])
        u = np.concatenate([-right_u[::-1], right_u, [hips, -hips]])
        v = np.concatenate([right_v[::-1], right_v, [hem, hem]])
        canvas.polygon(self._below(u, v), shade(self.clothes, 0.78))
        canvas.polygon(self._below(u * 0.86 - 0.08, v + 0.03), self.clothes)
        for side in (-1, 1):
            elbow, hand = rng.uniform(1.0, 1.25) * side, rng.uniform(0.75, 1.2) * side
            u = np.array([0.85 * width * side, elbow, hand])
            arm = self._below(u, np.array([0.9, 1.8, 2.6]))
            canvas.line(arm[0], arm[1], 0.32 * self.size, shade(self.clothes, 0.88))
            canvas.line(arm[1], arm[2], 0.28 * self.size, shade(self.clothes, 0.84))
        collar = np.array([-0.17, 0.17, 0.2, 0.0, -0.2]), np.array([0.25, 0.25, 0.58, 0.82, 0.58])
        canvas.polygon(self._below(*collar), shade(self.skin, 0.8))

    def _paint_legs(self, hips: float, hem: float) -> None:
        trousers = vary(self.rng, pick(self.rng, TROUSERS), 8)
        for side in (-1, 1):
            foot = side * self.rng.uniform(0.25, 0.7)
            leg = self._below(np.array([side * hips * 0.5, foot]), np.array([hem - 0.2, hem + 3.4]))
            colour = shade(trousers, 1.0 if side > 0 else 0.85)
            self.canvas.line(leg[0], leg[1], 0.5 * self.size, colour)

    def _paint_behind_face(self) -> None:
        if self.look == "long":
            self._oval((0.0, 0.1), (0.46, 0.58), shade(self.hair, 0.85))
        if self.look == "scarf":
            self._oval((0.0, 0.05), (0.46, 0.57), shade(self.clothes, 1.12))
        if self.look == "bun":
            self._oval((-0.1 * self.turn, -0.53), (0.17, 0.16), self.hair)

    def _paint_face(self) -> None:
        if self.look not in ("long", "scarf"):
            for side in (-1, 1):
                self._oval((0.37 * side, 0.03), (0.07, 0.12), shade(self.skin, 0.85))
        if self.look == "behind":
            self._oval((0, 0), (0.39, 0.5), shade(self.hair, 0.9))
            self._oval((-0.06, -0.05), (0.3, 0.4), shade(self.hair, 1.15))
            return
        radii = (0.33, 0.45) if self.look == "scarf" else (0.38, 0.5)
        self._oval((0, 0), radii, shade(self.skin, 0.84))
        self._oval((-0.035, -0.01), (radii[0] * 0.88, radii[1] * 0.94), self.skin)
        if self.size * self.canvas.scale >= _DETAIL_PX:
            self._paint_features()

    def _paint_features(self) -> None:
        middle = 0.1 * self.turn
        if self.rng.random() < 0.18:  # a beard
            self._oval((0.0, 0.14), (0.34, 0.35), shade(self.hair, 1.05), (0, 180))
        for side in (-1, 1):
            u = middle + 0.15 * side
            self._oval((u, -0.01), (0.065, 0.05), (245, 242, 238))
            self._oval((u + 0.02 * self.turn, -0.01), (0.036, 0.046), (36, 28, 26))
            self._oval((u, -0.125), (0.075, 0.016), shade(self.hair, 0.9))
        self._oval((middle * 1.4, 0.11), (0.045, 0.08), shade(self.skin, 0.82))
        mouth = 0.06 + 0.05 * self.rng.random()
        self._oval((middle, 0.28), (mouth + 0.04, 0.03), (164, 82, 78))

    def _paint_hair(self) -> None:
        if self.look in ("short", "long", "bun"):
            fringe = self.rng.uniform(-0.2, -0.1)
            self._oval((0, fringe), (0.42, 0.56 + fringe), self.hair, (172, 368))
            self._oval((-0.12, fringe - 0.2), (0.16, 0.07), shade(self.hair, 1.18))
        elif self.look in ("cap", "beanie"):
            fabric = vary(self.rng, pick(self.rng, CLOTHES), 20)
            self._oval((0, -0.14), (0.43, 0.44), fabric, (180, 360))
            front = 0.25 * self.turn if self.look == "cap" else 0.0
            band = np.array([-0.42, 0.42, 0.42, -0.42]) + front, np.array([-0.2, -0.2, -0.1, -0.1])
            self.canvas.polygon(self._at(*band), shade(fabric, 0.75), self.label)
        elif self.look == "bald" and self.rng.random() < 0.6:
            for side in (-1, 1):
                self._oval((0.34 * side, -0.06), (0.06, 0.14), self.hair)
