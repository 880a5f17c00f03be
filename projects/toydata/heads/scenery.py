"""Painted places for the generated pictures: backgrounds, round things that are not heads, screens.

Every function paints on a :class:`toydata.heads.painting.Canvas` and draws from the given generator
only. ``horizon`` is a height in px from the top.
"""

from __future__ import annotations

import cv2
import numpy as np

from toydata.heads.painting import Canvas, Colour, move, palette, pick, shade, vary

SKIES = [
    palette(pair) for pair in ("96c4e8 e2eef4", "c4b0d6 e8deec", "b0bcc8 dee0e2", "546ca0 cebec4")
]
WALLS = palette("c4c8cc b0bec4 b8b4c6 96a29a d8dede")
BRIGHT = palette("dc325a 2878d2 3cbebe 32aa5a 9646be 6ec846")
SEATS = palette("5c7094 68707c 60806e 706890 58848c")
GREENS = palette("46783e 5c8c46 386242 789650")


def paint_background(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    """One of the places, with texture over it."""
    place = pick(rng, (_paint_square, _paint_park, _paint_hall, _paint_stand))
    place(canvas, rng, horizon)
    _add_texture(canvas, rng, rng.uniform(4, 10))


def _paint_square(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    _fill_gradient(canvas, 0, horizon, *pick(rng, SKIES))
    x, unit = -10.0, canvas.width / 8
    while x < canvas.width:
        width, height = rng.uniform(1, 2.6) * unit, rng.uniform(0.3, 0.95) * horizon
        _paint_house(canvas, rng, (x, horizon - height, x + width, horizon))
        x += width + rng.uniform(0, 0.4) * unit
    stone = vary(rng, pick(rng, ((164, 166, 168), (136, 142, 146), (118, 124, 136))), 10)
    _paint_floor(canvas, rng, horizon, stone)


def _paint_house(
    canvas: Canvas, rng: np.random.Generator, box: tuple[float, float, float, float]
) -> None:
    x0, y0, x1, y1 = box
    wall = vary(rng, pick(rng, WALLS), 18)
    canvas.rectangle(x0, y0, x1, y1, wall)
    canvas.rectangle(x0, y0, x1, y0 + 0.04 * (y1 - y0) + 1, shade(wall, 0.7))
    glass = vary(rng, (96, 112, 128), 25)
    step = max(canvas.width / rng.uniform(14, 22), 5.0)
    for y in np.arange(y0 + step, y1 - step * 0.6, step * 1.5):
        for x in np.arange(x0 + step * 0.5, x1 - step * 0.7, step):
            tint = shade(glass, rng.uniform(0.8, 1.35))
            canvas.rectangle(x, y, x + step * 0.5, y + step * 0.8, tint)


def _paint_park(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    _fill_gradient(canvas, 0, horizon + 1, *pick(rng, SKIES))
    grass = vary(rng, pick(rng, ((122, 156, 84), (140, 160, 92), (104, 142, 88))), 10)
    for _ in range(3):
        centre = np.array([rng.uniform(0, canvas.width), horizon + 0.06 * canvas.height])
        radii = (rng.uniform(0.3, 0.8) * canvas.width, rng.uniform(0.08, 0.2) * canvas.height)
        canvas.ellipse(centre, radii, shade(pick(rng, GREENS), rng.uniform(1.0, 1.3)))
    _fill_gradient(canvas, horizon, canvas.height, shade(grass, 1.08), shade(grass, 0.8))
    for _ in range(int(rng.integers(2, 6))):
        _paint_tree(canvas, rng, rng.uniform(0, canvas.width), horizon)


def _paint_tree(canvas: Canvas, rng: np.random.Generator, x: float, foot: float) -> None:
    height = rng.uniform(0.25, 0.5) * canvas.height
    trunk = np.array([x, foot + 0.03 * canvas.height])
    canvas.line(trunk, move(trunk, 0, -height * 0.7), height * 0.09, (78, 76, 70))
    leaf = vary(rng, pick(rng, GREENS), 12)
    for lightness in (0.75, 0.9, 0.9, 1.05, 1.2):
        centre = move(trunk, rng.normal(0, 0.16 * height), -height * rng.uniform(0.65, 1.0))
        radii = (rng.uniform(0.15, 0.27) * height, rng.uniform(0.12, 0.22) * height)
        canvas.ellipse(centre, radii, shade(leaf, lightness))


def _paint_hall(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    wall = vary(rng, pick(rng, WALLS), 15)
    _fill_gradient(canvas, 0, horizon, shade(wall, 0.9), shade(wall, 1.05))
    for x in np.arange(rng.uniform(0, 0.2), 1.0, rng.uniform(0.18, 0.34)) * canvas.width:
        wide, top = rng.uniform(0.07, 0.15) * canvas.width, rng.uniform(0.1, 0.5) * horizon
        canvas.rectangle(x, top, x + wide, top + 0.4 * horizon, shade(wall, 0.68))
        picture = vary(rng, pick(rng, ((190, 208, 220), (140, 160, 148), (120, 136, 150))), 20)
        canvas.rectangle(x + 2, top + 2, x + wide - 2, top + 0.4 * horizon - 2, picture)
    canvas.rectangle(0, horizon - 0.02 * canvas.height, canvas.width, horizon, shade(wall, 0.6))
    _paint_floor(canvas, rng, horizon, vary(rng, (128, 140, 146), 20))


def _paint_floor(canvas: Canvas, rng: np.random.Generator, horizon: float, colour: Colour) -> None:
    """A ground with joints that run to the vanishing point."""
    _fill_gradient(canvas, horizon, canvas.height, shade(colour, 1.05), shade(colour, 0.8))
    vanishing = np.array([rng.uniform(0.3, 0.7) * canvas.width, horizon])
    joint, thin = shade(colour, 0.85), max(canvas.height / 220, 0.6)
    for x in np.linspace(-1.5, 2.5, int(rng.integers(12, 20))) * canvas.width:
        canvas.line(vanishing, np.array([x, canvas.height]), thin, joint)
    for depth in 1 / np.linspace(1, 9, 8):
        y = horizon + depth * (canvas.height - horizon)
        canvas.line(np.array([0, y]), np.array([canvas.width, y]), thin, joint)


def _paint_stand(canvas: Canvas, rng: np.random.Generator, horizon: float) -> None:
    """Rows of seats, lighter to the back."""
    seat = vary(rng, pick(rng, SEATS), 12)
    _fill_gradient(canvas, 0, canvas.height, shade(seat, 0.62), shade(seat, 0.45))
    top, row = 0.3 * horizon, 0
    while top < canvas.height:
        tall = 0.05 * canvas.height * (1 + 0.35 * row)
        offset = (row % 2) * 0.5 * tall
        for x in np.arange(-offset, canvas.width, tall * 1.1):
            low = np.array([x + 0.475 * tall, top + tall * 1.1])
            canvas.ellipse(low, (tall * 0.45, tall), shade(seat, 0.88), arc=(180, 360))
            canvas.ellipse(low, (tall * 0.36, tall * 0.86), shade(seat, 1.05), arc=(180, 360))
        top, row = top + tall * 1.2, row + 1


def paint_round_thing(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, size: float
) -> None:
    """Something round that is no head: ``size`` is its height in px."""
    thing = pick(
        rng, (_paint_ball, _paint_balloon, _paint_sign, _paint_clock, _paint_lamp, _paint_wheel)
    )
    thing(canvas, rng, np.array([x, y]), size / 2)


def _paint_ball(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, r: float) -> None:
    colour = vary(rng, pick(rng, BRIGHT), 15)
    canvas.ellipse(centre, (r, r), shade(colour, 0.75))
    canvas.ellipse(centre - 0.08 * r, (0.86 * r, 0.86 * r), colour)
    for angle in np.arange(3) * 60 + rng.uniform(0, 60):
        canvas.ellipse(centre, (0.95 * r, 0.1 * r), (240, 240, 236), angle=angle)


def _paint_balloon(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, r: float) -> None:
    colour = vary(rng, pick(rng, BRIGHT), 15)
    hand = move(centre, rng.normal(0, 0.6 * r), 3.5 * r)
    canvas.line(centre, hand, max(0.05 * r, 0.6), (90, 90, 90))
    canvas.ellipse(centre, (0.85 * r, r), shade(colour, 0.85))
    canvas.ellipse(centre - 0.1 * r, (0.7 * r, 0.83 * r), colour)
    canvas.ellipse(centre - 0.36 * r, (0.18 * r, 0.26 * r), shade(colour, 1.6), angle=30)


def _paint_sign(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, r: float) -> None:
    canvas.line(centre, move(centre, 0, 7 * r), max(0.16 * r, 1.0), (120, 122, 126))
    canvas.ellipse(centre, (r, r), (204, 36, 44))
    canvas.ellipse(centre, (0.74 * r, 0.74 * r), pick(rng, ((246, 246, 244), (40, 90, 180))))
    canvas.line(move(centre, -0.45 * r, 0), move(centre, 0.45 * r, 0), 0.28 * r, (204, 36, 44))


def _paint_clock(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, r: float) -> None:
    canvas.ellipse(centre, (r, r), (60, 62, 66))
    canvas.ellipse(centre, (0.86 * r, 0.86 * r), (244, 244, 240))
    for length, thick in ((0.45, 0.12), (0.7, 0.08)):
        angle = rng.uniform(0, 2 * np.pi)
        tip = centre + length * r * np.array([np.cos(angle), np.sin(angle)])
        canvas.line(centre, tip, max(thick * r, 0.6), (40, 40, 44))


def _paint_lamp(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, r: float) -> None:
    canvas.line(centre, move(centre, 0, 12 * r), max(0.2 * r, 1.0), (58, 60, 66))
    glow = vary(rng, (226, 236, 250), 8)
    for size, lightness in ((1.0, 0.86), (0.8, 0.95), (0.55, 1.1)):
        canvas.ellipse(centre, (size * r, size * r), shade(glow, lightness))


def _paint_wheel(canvas: Canvas, rng: np.random.Generator, centre: np.ndarray, r: float) -> None:
    canvas.ellipse(centre, (r, r), (40, 42, 46))
    canvas.ellipse(centre, (0.68 * r, 0.68 * r), (168, 172, 178))
    for angle in np.arange(3) * 60 + rng.uniform(0, 60):
        canvas.ellipse(centre, (0.66 * r, 0.09 * r), (72, 74, 80), angle=angle)


def paint_screen(canvas: Canvas, rng: np.random.Generator) -> None:
    """Something in front of everything: a post, leaves in a corner, or a railing."""
    kind, width, height = int(rng.integers(3)), canvas.width, canvas.height
    if kind == 0:
        x = rng.uniform(0.1, 0.9) * width
        metal = vary(rng, (96, 100, 108), 25)
        canvas.rectangle(x, 0, x + rng.uniform(0.03, 0.06) * width, height, metal)
        canvas.rectangle(x, 0, x + 0.012 * width, height, shade(metal, 1.3))
    elif kind == 1:
        corner = np.array([pick(rng, (0.0, float(width))), rng.uniform(0.3, 1.0) * height])
        leaf = vary(rng, pick(rng, GREENS), 15)
        for _ in range(14):
            radii = (rng.uniform(0.03, 0.07) * width, rng.uniform(0.015, 0.03) * width)
            centre = corner + rng.normal(0, 0.11, 2) * (width, height)
            canvas.ellipse(
                centre, radii, shade(leaf, rng.uniform(0.7, 1.3)), angle=rng.uniform(0, 180)
            )
    else:
        y, thick = rng.uniform(0.6, 0.85) * height, 0.03 * height
        metal = vary(rng, (70, 74, 82), 20)
        canvas.rectangle(0, y, width, y + thick, metal)
        for x in np.arange(rng.uniform(0, 0.1), 1, 0.12) * width:
            canvas.rectangle(x, y, x + 0.015 * width, height, shade(metal, 0.85))


def finish(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, colour cast, grain: ``picture`` (H, W, 3) uint8 as a camera might have seen it."""
    height, width = picture.shape[:2]
    light = rng.uniform(0.82, 1.14, (2, 2)).astype(np.float32)
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    cast = rng.uniform(0.95, 1.05, 3).astype(np.float32)
    grain = rng.standard_normal((height, width, 1), np.float32) * rng.uniform(1.0, 4.0)
    return np.clip(picture * (light[..., None] * cast) + grain, 0, 255).astype(np.uint8)


def _fill_gradient(canvas: Canvas, top: float, bottom: float, first: Colour, last: Colour) -> None:
    """A vertical gradient over full rows (labels are still empty then)."""
    start, stop = (int(np.clip(y, 0, canvas.height) * canvas.scale) for y in (top, bottom))
    mix = np.linspace(0, 1, max(stop - start, 0), dtype=np.float32)[:, None, None]
    canvas.pixels[start:stop] = np.asarray(first) * (1 - mix) + np.asarray(last) * mix


def _add_texture(canvas: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Smooth noise at three sizes, so that no surface is flat."""
    height, width = canvas.pixels.shape[:2]
    total = np.zeros((height, width), np.float32)
    for cells in (6, 18, 48):
        coarse = rng.standard_normal((cells, cells), np.float32) * (strength / 2)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    canvas.pixels[:] = np.clip(canvas.pixels + total[..., None], 0, 255)
