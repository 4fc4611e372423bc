"""Smooths keypoints over time with the 1€ filter.

    value   <- value + a (point - value),     a = 1 / (1 + 1 / (2 pi f dt))
    f        = cutoff + beta |speed| / extent

f is the cutoff frequency in Hz of a first-order low-pass, dt the time in seconds since the point was last seen. At rest f is
low, which removes jitter; with speed it rises, which keeps the lag small: a point of constant speed v lags by v / (2 pi f),
so by less than extent / (2 pi beta). Speed is low-passed in the same way. Casiez, Roussel and Vogel, 1€ Filter: A Simple
Speed-based Low-pass Filter for Noisy Input in Interactive Systems, CHI 2012. Here speed is that of the point in the plane,
relative to the instance's extent, so that results do not depend on the picture's resolution, and it is the difference
of points as given rather than to the last smoothed one, so that they do not depend on the frame rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OneEuro:
    """Parameters of the filter.

    cutoff: Hz, at rest. beta: Hz of cutoff for a speed of one extent per second. speed_cutoff: Hz, for the speed. gap:
    seconds without a point after which its filter starts anew. least_score: a point with a lower score is not believed; it
    stays where it was for at most `gap`. Raises ConfigError unless cutoffs are above 0 and the others at least 0.
    """

    cutoff: float = 2.0
    beta: float = 20.0
    speed_cutoff: float = 1.0
    gap: float = 1.0
    least_score: float = 0.1

    def __post_init__(self) -> None:
        values = (self.cutoff, self.beta, self.speed_cutoff, self.gap, self.least_score)
        if not all(map(math.isfinite, values)) or min(self.cutoff, self.speed_cutoff) <= 0 or min(values) < 0:
            raise ConfigError(f"smoothing expects cutoffs above 0 Hz and everything else at least 0; got {self}")


class Smoother:
    """The filters of one instance's keypoints."""

    def __init__(self, settings: OneEuro, count: int) -> None:
        self._settings = settings
        self._value, self._last, self._speed = (np.full((count, 2), np.nan) for _ in range(3))
        self._time = np.full(count, -np.inf)
        self._extent, self._updated = math.nan, -math.inf

    def update(
        self, points: NDArray[np.float32], scores: NDArray[np.float32], extent: float, time: float
    ) -> NDArray[np.float32]:
        """The smoothed points (K, 2) of the frame at `time`, in seconds; NaN where `points` are.

        extent: the instance's size in pixels, which is low-passed as well, because it changes as keypoints come and go.
        """
        settings = self._settings
        if math.isnan(self._extent):
            self._extent = extent
        elif time > self._updated:
            self._extent += (extent - self._extent) * _weight(settings.speed_cutoff, time - self._updated)
        self._updated = time
        given = points.astype(np.float64)
        there = np.isfinite(given).all(1)
        believed = there & (scores >= settings.least_score)
        step = np.asarray(time - self._time)
        fresh = believed & (step > settings.gap)
        for state, start in ((self._value, given), (self._last, given), (self._speed, np.zeros_like(given))):
            state[fresh] = start[fresh]
        going = believed & ~fresh & (step > 0)
        if going.any():
            self._advance(going, given[going], step[going, None])
        self._time[believed] = time
        held = there & ~believed & (step <= settings.gap)
        result = np.where((believed | held)[:, None], self._value, given)
        return result.astype(np.float32)

    def _advance(self, going: NDArray[np.bool_], points: Array, step: Array) -> None:
        """Filter the points (N, 2) marked by `going`, which were last seen `step` (N, 1) seconds ago."""
        settings = self._settings
        speed, value = self._speed[going], self._value[going]
        speed += _weight(settings.speed_cutoff, step) * ((points - self._last[going]) / step - speed)
        cutoff = settings.cutoff + settings.beta * np.linalg.norm(speed, axis=1, keepdims=True) / self._extent
        self._value[going] = value + _weight(cutoff, step) * (points - value)
        self._speed[going], self._last[going] = speed, points


def _weight(cutoff: Any, step: Any) -> Any:
    """The weight of a new value, for a cutoff frequency in Hz and a step in seconds, numbers or arrays."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * step))
