"""What the camera sees: a still street with road users in front of it, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from toydata.streets.canvas import Sprite
from toydata.streets.settings import SceneSettings
from toydata.streets.traffic import (
    CARRIAGEWAY_M,
    CYCLE_M,
    PAVEMENT_M,
    Actor,
    Camera,
    Road,
    lay_road,
    populate,
)

_DARKEST = 0.02  # luminance; keeps the logarithm finite, as stray light does
_FLICKER_HZ = (0.3, 2.0)
_LULL_FADE = 0.1  # seconds in which road users dissolve and come back
_FULL_VIEW = 0.5  # alpha and haze from which a pixel or an object counts as there


@dataclass(frozen=True)
class Placed:
    """An object in one frame.

    Attributes:
        actor: which one.
        box: (4,) xyxy_abs px of all of it, hidden and outside parts included.
        rows: of the sensor that it touches; ``columns`` likewise.
        picture: (h, w, 2) float32 for those: luminance times alpha, alpha.
        area: px that all of it would cover.
    """

    actor: Actor
    box: np.ndarray
    rows: slice
    columns: slice
    picture: np.ndarray
    area: float


class StreetView:
    """One scene; frames may be asked for in any order.

    Args:
        settings: size, length, flicker, density.
        rng: decides the street and everybody in it.
    """

    def __init__(self, settings: SceneSettings, rng: np.random.Generator) -> None:
        camera = Camera.above_street(settings.width, settings.height, float(rng.random()))
        road = lay_road(camera, rng)
        self._background = paint_street(camera, road, rng)
        self._log_background = np.log(self._background)
        self._flicker = _flicker(settings, rng)
        self._actors = _with_lull(populate(settings, camera, road, rng), settings, rng)
        self._frame = np.empty_like(self._background)
        self._log_frame = np.empty_like(self._background)
        self.labelled = [actor for actor in self._actors if actor.kind is not None]

    def log_frame(self, index: int) -> np.ndarray:
        """(H, W) float32 log intensity; the array is used again by the next call."""
        placed = self.placed(index)
        np.copyto(self._frame, self._background)
        np.copyto(self._log_frame, self._log_background)
        for thing in placed:
            window = self._frame[thing.rows, thing.columns]
            window *= 1 - thing.picture[:, :, 1]
            window += thing.picture[:, :, 0]
        for thing in placed:
            window = self._frame[thing.rows, thing.columns]
            self._log_frame[thing.rows, thing.columns] = np.log(np.maximum(window, _DARKEST))
        self._log_frame += self._flicker[index]
        return self._log_frame

    def placed(self, index: int) -> list[Placed]:
        """All objects on the sensor, the farthest first."""
        found = [_place(actor, index, self._frame.shape) for actor in self._actors]
        present = [thing for thing in found if thing is not None]
        return sorted(present, key=lambda thing: thing.actor.track[index, 2])

    def visible_shares(self, index: int) -> list[tuple[Placed, float, float]]:
        """Labelled objects, the share of each on the sensor, and how much of that is not hidden."""
        covered = np.zeros(self._frame.shape, bool)
        shares = []
        for thing in reversed(self.placed(index)):
            solid = thing.picture[:, :, 1] > _FULL_VIEW
            before = covered[thing.rows, thing.columns]
            if thing.actor.kind is not None:
                on_sensor, seen = np.count_nonzero(solid), np.count_nonzero(solid & ~before)
                shares.append((thing, on_sensor / max(thing.area, 1.0), seen / max(on_sensor, 1)))
            before |= solid
        return shares


def _with_lull(
    actors: list[Actor], settings: SceneSettings, rng: np.random.Generator
) -> list[Actor]:
    """Road users who dissolve, like distant ones do, for ``settings.lull`` seconds (0: as given).

    Those are counted between the middles of the fades, where labels end and begin again.
    """
    if settings.lull == 0:
        return actors
    middle = rng.uniform(0.4, 0.6) * settings.seconds
    distance = np.abs(settings.times - middle) - settings.lull / 2
    seen = np.clip(0.5 + distance / _LULL_FADE, 0.0, 1.0)
    return [
        actor if actor.kind is None else replace(actor, haze=actor.haze * seen) for actor in actors
    ]


def _place(actor: Actor, index: int, shape: tuple[int, ...]) -> Placed | None:
    """The object's picture at its place; None where nothing of it is on the sensor."""
    x, foot, scale = actor.track[index]
    if scale <= 0:
        return None
    sprite = actor.sprite(int(actor.phase[index]))
    height = actor.height * scale
    width = sprite.aspect * height
    left, top = x - width / 2, foot - height
    columns = _covered(left - 1, left + width + 1, shape[1])
    rows = _covered(top - 1, foot + 1, shape[0])
    if columns.stop <= columns.start or rows.stop <= rows.start:
        return None
    picture = _warp(sprite, (left, top, width, height), rows, columns)
    if actor.haze[index] < 1:
        picture *= actor.haze[index]
    extent = np.array(sprite.extent)
    box = np.array([left, top, left, top]) + extent * np.array([width, height, width, height])
    return Placed(actor, box, rows, columns, picture, sprite.opaque * width * height)


def _covered(low: float, high: float, size: int) -> slice:
    return slice(max(int(np.floor(low)), 0), min(int(np.ceil(high)), size))


def _warp(
    sprite: Sprite, place: tuple[float, float, float, float], rows: slice, columns: slice
) -> np.ndarray:
    """The sprite stretched to ``place`` (left, top, width, height in px), cut to a window."""
    left, top, width, height = place
    # The coarsest level that still has as many pixels as needed, so that nothing aliases.
    finer = [level for level in sprite.levels if level.shape[0] - 2 >= 0.75 * height]
    level = finer[-1] if finer else sprite.levels[0]
    stretch_x, stretch_y = width / (level.shape[1] - 2), height / (level.shape[0] - 2)
    # Pixel centres are at half coordinates, and the sprite has a border of one pixel.
    matrix = np.array(
        [
            [stretch_x, 0.0, left - 0.5 * stretch_x - 0.5 - columns.start],
            [0.0, stretch_y, top - 0.5 * stretch_y - 0.5 - rows.start],
        ]
    )
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return cv2.warpAffine(level, matrix, size, flags=cv2.INTER_LINEAR)


def _flicker(settings: SceneSettings, rng: np.random.Generator) -> np.ndarray:
    """(frames + 1,) float32 change of log intensity common to all pixels."""
    waves = [
        np.sin(2 * np.pi * (rng.uniform(*_FLICKER_HZ) * settings.times + rng.random()))
        for _ in range(2)
    ]
    return (settings.flicker * 0.5 * np.sum(waves, axis=0)).astype(np.float32)


def paint_street(camera: Camera, road: Road, rng: np.random.Generator) -> np.ndarray:
    """(H, W) float32 luminance of the empty street: houses, grass, road, pavements, markings."""
    image = np.full((camera.height, camera.width), rng.uniform(0.16, 0.24), np.float32)
    skyline = round(camera.horizon + 0.55 * camera.mount * camera.farthest)
    _paint_houses(image, max(skyline, 0), camera, rng)
    edge, tar = PAVEMENT_M + 1.3, rng.uniform(0.26, 0.34)
    _strip(image, camera, road, (-edge, edge), rng.uniform(0.36, 0.45))
    _strip(image, camera, road, (-CYCLE_M - 0.8, CYCLE_M + 0.8), tar)
    for offset in (-2 * CARRIAGEWAY_M, 2 * CARRIAGEWAY_M):
        _strip(image, camera, road, (offset - 0.08, offset + 0.08), 0.6)
    for along in np.arange(-80.0, 80.0, 6.0):
        _strip(image, camera, road, (-0.08, 0.08), 0.65, (along, along + 3.0))
    return np.maximum(_textured(image, rng), _DARKEST)


def _paint_houses(
    image: np.ndarray, skyline: int, camera: Camera, rng: np.random.Generator
) -> None:
    """A row of fronts with windows, down to the row ``skyline``."""
    x = 0
    while x < camera.width and skyline > 0:
        wide = int(rng.uniform(0.15, 0.4) * camera.width)
        wall, pane = rng.uniform(0.25, 0.5), rng.uniform(0.08, 0.18)
        image[:skyline, x : x + wide] = wall
        step = max(int(2.6 * camera.farthest), 6)
        for top in range(skyline - step, -step, -step):
            for left in range(x + step // 3, min(x + wide, camera.width) - step // 2, step):
                image[max(top, 0) : max(top + step // 2, 0), left : left + step // 2] = pane
        x += wide


def _strip(
    image: np.ndarray,
    camera: Camera,
    road: Road,
    offsets: tuple[float, float],
    luminance: float,
    along: tuple[float, float] = (-140.0, 140.0),
) -> None:
    """Fill the part of the ground between two lines parallel to the road."""
    steps = np.linspace(*along, 400 if along[1] - along[0] > 10 else 4)
    lines = [road.at(steps[:, None], offset) for offset in offsets]
    outline = np.concatenate([lines[0], lines[1][::-1]])
    outline = outline[outline[:, 1] > 0.35 * camera.focal / camera.nearest]
    if len(outline) < 3:
        return
    corners = np.clip(camera.project(outline)[:, :2], -8000, 8000)
    cv2.fillPoly(image, [np.round(corners * 16).astype(np.int32)], luminance, cv2.LINE_AA, 4)


def _textured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grain and patches, as of asphalt, plaster and grass."""
    height, width = image.shape
    patches = rng.normal(0, 0.1, (height // 12 + 2, width // 12 + 2)).astype(np.float32)
    patches = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 0.05, image.shape).astype(np.float32)
    return image * np.exp(patches + grain)
