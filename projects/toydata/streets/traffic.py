"""Who moves where: a camera on a pole, a road in front of it, and everybody's path along it.

Ground coordinates are metres: X to the right of the camera, Z away from it. A point at depth Z is
seen at ``scale = focal / Z`` px per metre, in the row ``horizon + mount * scale``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toydata.streets.canvas import Sprite
from toydata.streets.settings import SceneSettings
from toydata.streets.sprites import KINDS, Kind, pole_of, sprites_of

_PERSON_M = 1.75
_LOWEST_ROW, _HIGHEST_ROW = 0.97, 0.4  # where the nearest and the farthest road user stand
_GROWTH = 2.2  # times the nearest scale: there even a bus has left below the picture
_FINEST = 1.5  # of the nearest scale: sharper pictures are not painted
_HAZE = (0.75, 0.9)  # of the farthest scale: where distant objects dissolve
_REACH_M = 150.0
_FEWEST, _TRIES = 3, 20  # road users who are in view for long; streets drawn to get them


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks horizontally, its picture shifted down.

    Attributes:
        width: px.
        height: px.
        farthest: scale of the farthest road users, px per metre; ``nearest`` likewise.
        horizon: row of infinity, px.
        mount: height above the ground, metres.
        focal: px.
    """

    width: int
    height: int
    farthest: float
    nearest: float
    horizon: float
    mount: float
    focal: float

    @classmethod
    def above_street(cls, width: int, height: int, turn: float) -> Camera:
        """People are from ``16 + height / 66`` px (far) to ``12 + height / 6`` px (near) tall.

        Args:
            width: px.
            height: px.
            turn: 0 to 1, from 10 % smaller than that to 10 % larger.
        """
        zoom = 0.9 + 0.2 * turn
        farthest = (16 + 0.015 * height) / _PERSON_M * zoom
        nearest = (12 + 0.17 * height) / _PERSON_M * zoom
        mount = (_LOWEST_ROW - _HIGHEST_ROW) * height / (nearest - farthest)
        horizon = _LOWEST_ROW * height - mount * nearest
        return cls(width, height, farthest, nearest, horizon, mount, 1.1 * width)

    def project(self, ground: np.ndarray) -> np.ndarray:
        """(N, 2) X, Z in metres -> (N, 3) x and y in px and the scale in px per metre.

        Points behind the camera get the scale of those right in front of it.
        """
        scale = self.focal / np.maximum(ground[:, 1], 0.5)
        x = 0.5 * self.width + ground[:, 0] * scale
        return np.stack([x, self.horizon + self.mount * scale, scale], axis=1)


@dataclass(frozen=True)
class Lane:
    """A straight path on the ground.

    Attributes:
        origin: (2,) X, Z of its beginning, just outside the view.
        heading: (2,) unit vector.
        length: until it has left the view, metres.
    """

    origin: np.ndarray
    heading: np.ndarray
    length: float


@dataclass(frozen=True)
class Actor:
    """One road user (or a pole, which stands still).

    Attributes:
        kind: what it is; None for what is not labelled.
        sprite: gives its picture in a phase of movement.
        height: visible height, metres.
        track: (frames, 3) x, y (px, middle of its foot line) and scale (px per metre).
        phase: (frames,) the phase, as ``sprite`` takes it.
        haze: (frames,) 0 dissolved in the distance to 1 there.
    """

    kind: Kind | None
    sprite: Callable[[int], Sprite]
    height: float
    track: np.ndarray
    phase: np.ndarray
    haze: np.ndarray


@dataclass(frozen=True)
class Road:
    """Where the road lies: a middle line and its direction; across it, offsets in metres."""

    middle: np.ndarray
    heading: np.ndarray

    @property
    def across(self) -> np.ndarray:
        """(2,) unit vector, away from the camera where the road runs across the view."""
        return np.array([-self.heading[1], self.heading[0]])

    def at(self, along: float | np.ndarray, offset: float) -> np.ndarray:
        """(2,) X, Z of a place, or (N, 2) of ``along`` (N, 1)."""
        return self.middle + along * self.heading + offset * self.across


CARRIAGEWAY_M = 1.9  # offset of a lane from the middle of the road
CYCLE_M = 4.9
PAVEMENT_M = 7.3
_POLES_M = 5.9


def lay_road(camera: Camera, rng: np.random.Generator) -> Road:
    """A road across the view or, less often, along it."""
    near, far = camera.focal / camera.nearest, camera.focal / camera.farthest
    if rng.random() < 0.65:
        closest = near + PAVEMENT_M + 0.5
        depth = closest * (max(far - 6.0, closest + 1.0) / closest) ** rng.uniform(0, 0.8)
        angle, left = rng.uniform(-0.2, 0.2), rng.uniform(-2, 2)
    else:
        depth = near * (far / near) ** rng.uniform(0.4, 0.7)
        angle, left = np.pi / 2 + rng.choice([-1, 1]) * rng.uniform(0.1, 0.5), rng.uniform(-3, 3)
    heading = np.array([np.cos(angle), np.sin(angle)])
    return Road(np.array([left, depth]), heading)


def populate(
    settings: SceneSettings, camera: Camera, road: Road, rng: np.random.Generator
) -> list[Actor]:
    """Everybody who is in view at some time of the recording, and the poles beside the road.

    A street in which nearly nobody passes is tried again, so that short recordings have labels.
    """
    crowd = _Crowd(settings, camera, road, rng)
    actors: list[Actor] = []
    for _ in range(_TRIES if settings.density > 0 else 1):
        actors = crowd.everybody()
        if sum(_is_shown(actor, camera) for actor in actors) >= _FEWEST:
            break
    return actors + crowd.poles()


def _is_shown(actor: Actor, camera: Camera) -> bool:
    """Whether the middle of its feet is on the sensor and near enough for a third of the time."""
    x, y, scale = actor.track.T
    shown = (x > 0) & (x < camera.width) & (y < camera.height) & (scale > 0) & (actor.haze > 0.6)
    return bool(np.mean(shown) > 0.3)


class _Crowd:
    """Draws who is on one street, and the way of each."""

    def __init__(
        self, settings: SceneSettings, camera: Camera, road: Road, rng: np.random.Generator
    ) -> None:
        self.settings, self.camera, self.road, self.rng = settings, camera, road, rng

    def everybody(self) -> list[Actor]:
        actors: list[Actor] = []
        for side in (-1, 1):
            actors += self._traffic(self._lane(side * CARRIAGEWAY_M, side))
            actors += self._walkers(self._lane(side * CYCLE_M, side), KINDS["bicycle"], 0.03)
            lane = self._lane(side * PAVEMENT_M, int(self.rng.choice([-1, 1])))
            actors += self._walkers(lane, KINDS["pedestrian"], 0.055)
        return [actor for actor in actors if actor.track[:, 2].any()]

    def poles(self) -> list[Actor]:
        """Lamp posts and tree trunks between the cycle lane and the pavement."""
        rng, camera, actors = self.rng, self.camera, []
        for _ in range(int(rng.integers(1, 4))):
            side, along = rng.choice([-1, 1]), rng.uniform(-12, 12)
            place = camera.project(self.road.at(along, side * _POLES_M)[None])
            if not 0.5 * camera.farthest < place[0, 2] < _GROWTH * camera.nearest:
                continue
            thick, tall = rng.choice([rng.uniform(0.18, 0.35), rng.uniform(0.5, 0.8)]), 6.0
            sprite = pole_of(rng, float(thick), tall, float(place[0, 2]))
            track = np.repeat(place, self.settings.frames + 1, axis=0)
            still, there = np.zeros(len(track), np.int64), np.ones(len(track))
            actors.append(Actor(None, sprite, tall, track, still, there))
        return actors

    def _lane(self, offset: float, direction: int) -> Lane | None:
        """The part of the line that the camera sees, with a margin; None if it sees nothing."""
        camera, road, along = self.camera, self.road, np.arange(-_REACH_M, _REACH_M, 0.25)
        x, _, scale = camera.project(road.at(along[:, None], offset)).T
        margin = 6.0 * scale
        seen = (x > -margin) & (x < camera.width + margin)
        seen &= (scale > _HAZE[0] * camera.farthest) & (scale < _GROWTH * camera.nearest)
        visible = np.flatnonzero(seen)
        if len(visible) < 8:
            return None
        start, stop = along[visible[[0, -1]]].tolist()
        first = start if direction > 0 else stop
        return Lane(road.at(first, offset), direction * road.heading, stop - start)

    def _traffic(self, lane: Lane | None) -> list[Actor]:
        """Motor vehicles in a row; they share one speed, and stop together as at a light."""
        rng, density = self.rng, self.settings.density
        if lane is None or density == 0:
            return []
        way = self._way(speed=rng.uniform(6.5, 12.5), stops=0.4)
        actors, place = [], lane.length - rng.uniform(0, 6.0)
        while place > -way[-1]:
            name = rng.choice(["car", "truck", "bus", "motorbike"], p=[0.42, 0.17, 0.11, 0.3])
            length = KINDS[name].size[0]
            actors.append(self._actor(lane, KINDS[name], place - length / 2 + way, 0.0))
            place -= length + 2.5 + rng.exponential(6.0 / density)
        return actors

    def _walkers(self, lane: Lane | None, kind: Kind, per_metre: float) -> list[Actor]:
        """People who move independently; ``per_metre``: how many, on average."""
        if lane is None:
            return []
        rng, settings, actors = self.rng, self.settings, []
        walks = kind.name == "pedestrian"
        low, high = (1.0, 2.0) if walks else (3.5, 6.5)
        usual = 0.5 * (low + high) * settings.seconds
        for _ in range(rng.poisson(per_metre * settings.density * (lane.length + usual))):
            way = self._way(speed=rng.uniform(low, high), stops=0.25)
            place = rng.uniform(-usual, lane.length)
            aside = rng.uniform(-0.9, 0.9) if walks else rng.uniform(-0.3, 0.3)
            actors.append(self._actor(lane, kind, place + way, aside))
        return actors

    def _way(self, speed: float, stops: float) -> np.ndarray:
        """(frames + 1,) metres since the start: even, with a stop at a chance of ``stops``."""
        rng, settings, time = self.rng, self.settings, self.settings.times
        begin, lasts = rng.uniform(0.2, 0.65) * settings.seconds, rng.uniform(0.7, 1.8)
        pace = np.ones_like(time)
        if rng.random() < stops:
            knots = begin + np.array([0.0, 0.6, 0.6 + lasts, 1.5 + lasts])
            pace = np.interp(time, knots, [1.0, 0.0, 0.0, 1.0])
        steps = speed * 0.5 * (pace[1:] + pace[:-1]) / settings.frames_per_second
        return np.concatenate([[0.0], np.cumsum(steps)])

    def _actor(self, lane: Lane, kind: Kind, places: np.ndarray, aside: float) -> Actor:
        """One individual whose middle is at ``places`` (frames + 1,) metres along the lane."""
        rng, camera = self.rng, self.camera
        across = np.array([-lane.heading[1], lane.heading[0]])
        track = camera.project(lane.origin + places[:, None] * lane.heading + aside * across)
        track[(places < 0) | (places > lane.length), 2] = 0.0  # not in view
        length, broad, tall = np.array(kind.size) * rng.uniform(0.9, 1.1, 3)
        sideways, towards = np.abs(lane.heading)
        side_view = bool(sideways > 0.6)
        if side_view:
            width, height = length * sideways + 0.3 * broad * towards, tall
        else:  # from above one sees something of the roof
            width, height = broad * towards + 0.25 * length * sideways, tall + 0.06 * length
        finest = float(np.clip(track[:, 2].max(), 2.0, _FINEST * camera.nearest))
        sprite = sprites_of(rng, kind, width, height, side_view, bool(lane.heading[0] < 0), finest)
        turns = places / (kind.stride_m or 1.0) + rng.random()
        phase = np.floor(turns * kind.phases).astype(np.int64) % kind.phases
        low, high = (edge * camera.farthest for edge in _HAZE)
        haze = np.clip((track[:, 2] - low) / (high - low), 0.0, 1.0)
        return Actor(kind, sprite, height, track, phase, haze)
