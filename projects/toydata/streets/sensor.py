"""An event camera: every pixel compares its log intensity with the one it last reported.

The model is the contrast-threshold one of Rebecq et al., ESIM, 2018 (section 3) with per-pixel
thresholds and background activity as in Hu et al., v2e, 2021, arXiv 2006.07722 (sections 4.1 and
4.2). Between two frames the log intensity of a pixel is taken to change linearly, so the times of
all crossings are known exactly and a pixel may fire several times within one step.
"""

from __future__ import annotations

import numpy as np

from toydata.streets.settings import SceneSettings

_NOISE_SPREAD = 0.8  # sigma of the log-normal noise rates
_HOT_PIXELS = 2e-4  # share of pixels with a defect
_HOT_HZ = 15.0
_NOISE_ON = 0.6  # leaking pixels report ON more often

EventColumns = tuple[np.ndarray, np.ndarray, np.ndarray]  # pixel (flat index), polarity, time us


class ThresholdSensor:
    """The state of all pixels; ``advance`` gives the events up to the next frame.

    Args:
        log_frame: (H, W) float32 log intensity at time 0; every pixel has somewhere within its
            dead zone reported last.
        settings: thresholds and noise.
        rng: the only source of randomness.
    """

    def __init__(
        self, log_frame: np.ndarray, settings: SceneSettings, rng: np.random.Generator
    ) -> None:
        start = log_frame.astype(np.float32).ravel()
        self._rng = rng
        self._time_us = 0.0
        self._on = _thresholds(settings, start.size, rng)
        self._off = _thresholds(settings, start.size, rng)
        within = rng.uniform(-0.5, 0.5, start.size).astype(np.float32)
        self._reference = start + within * np.minimum(self._on, self._off)
        self._previous = start
        self._high = self._reference + self._on
        self._low = self._reference - self._off
        self._noise_reach = np.cumsum(_noise_rates(settings.noise_hz, start.size, rng))

    def advance(self, log_frame: np.ndarray, time_us: float) -> EventColumns:
        """Events between the previous frame and this one, in the order of time.

        Args:
            log_frame: (H, W) float32 log intensity at ``time_us``; not kept.
            time_us: later than the previous frame.
        """
        current = log_frame.reshape(-1)
        fired = np.flatnonzero((current >= self._high) | (current <= self._low))
        signal = self._signal(current, fired, time_us)
        noise = self._noise(time_us)
        self._previous[:] = current
        self._time_us = time_us
        pixels, polarities, times = map(np.concatenate, zip(signal, noise, strict=True))
        order = np.argsort(times, kind="stable")
        return pixels[order], polarities[order], times[order]

    def _signal(self, current: np.ndarray, fired: np.ndarray, time_us: float) -> EventColumns:
        """Crossings of the pixels ``fired``, whose references move by whole thresholds."""
        reference, previous = self._reference[fired], self._previous[fired]
        change = current[fired] - reference
        brighter = change > 0
        step = np.where(brighter, self._on[fired], -self._off[fired])
        counts = np.maximum((change / step).astype(np.int64), 1)
        repeated = np.repeat(np.arange(len(fired)), counts)
        # The how-manieth crossing of its pixel each event is, from 1.
        number = np.arange(1, len(repeated) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
        level = reference[repeated] + number * step[repeated]
        slope = (current[fired] - previous)[repeated]
        # Rounding may leave a crossing over for a step in which nothing changes.
        share = (level - previous[repeated]) / np.where(slope == 0, 1, slope)
        share = np.clip(share, 0.0, 1.0)
        times = self._time_us + share.astype(np.float64) * (time_us - self._time_us)
        self._move_reference(fired, reference + (counts * step).astype(np.float32))
        return fired[repeated], brighter[repeated].astype(np.uint8), _whole_us(times, time_us)

    def _move_reference(self, pixels: np.ndarray, values: np.ndarray) -> None:
        self._reference[pixels] = values
        self._high[pixels] = values + self._on[pixels]
        self._low[pixels] = values - self._off[pixels]

    def _noise(self, time_us: float) -> EventColumns:
        """Events without a cause: a Poisson process per pixel."""
        total, span_us = self._noise_reach[-1], time_us - self._time_us
        count = int(self._rng.poisson(total * span_us * 1e-6))
        pixels = np.searchsorted(self._noise_reach, self._rng.random(count) * total, side="right")
        pixels = np.minimum(pixels, len(self._noise_reach) - 1)  # in case the product rounds up
        polarities = (self._rng.random(count) < _NOISE_ON).astype(np.uint8)
        times = self._time_us + self._rng.random(count) * span_us
        return pixels, polarities, _whole_us(times, time_us)


def _thresholds(settings: SceneSettings, size: int, rng: np.random.Generator) -> np.ndarray:
    spread = rng.normal(1.0, settings.mismatch, size)
    return (settings.threshold * np.clip(spread, 0.5, 1.5)).astype(np.float32)


def _noise_rates(mean_hz: float, size: int, rng: np.random.Generator) -> np.ndarray:
    rates = np.exp(rng.normal(-0.5 * _NOISE_SPREAD**2, _NOISE_SPREAD, size))
    rates += (rng.random(size) < _HOT_PIXELS) * (_HOT_HZ / max(mean_hz, 1e-9))
    return rates * mean_hz


def _whole_us(times: np.ndarray, end_us: float) -> np.ndarray:
    """Whole microseconds before ``end_us``, so that steps do not overlap."""
    return np.minimum(times, np.ceil(end_us) - 1).astype(np.int64)
