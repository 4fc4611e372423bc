"""The 1€ filter against a slow reference, its lag and its gain, gaps and points that are not believed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from kptool.base.errors import ConfigError
from kptool.predict.smoothing import OneEuro, Smoother

SURE = np.ones(1, np.float32)


def reference(
    points: Sequence[tuple[float, float]], times: Sequence[float], extent: float, it: OneEuro
) -> list[list[float]]:
    """The formulas of the paper for one point, step by step."""
    result: list[list[float]] = []
    speed = [0.0, 0.0]
    for n, ((x, y), time) in enumerate(zip(points, times, strict=True)):
        if n == 0:
            result.append([x, y])
            continue
        dt = time - times[n - 1]
        tau = 1 / (2 * math.pi * it.speed_cutoff)
        a = 1 / (1 + tau / dt)
        for axis, value in enumerate((x, y)):
            speed[axis] = a * (value - points[n - 1][axis]) / dt + (1 - a) * speed[axis]
        tau = 1 / (2 * math.pi * (it.cutoff + it.beta * math.hypot(*speed) / extent))
        a = 1 / (1 + tau / dt)
        result.append([a * value + (1 - a) * before for value, before in zip((x, y), result[-1], strict=True)])
    return result


def smoothed(points: NDArray[np.float64], times: Sequence[float], extent: float, it: OneEuro) -> NDArray[np.float64]:
    """The filter's output for one point, (N, 2)."""
    smoother = Smoother(it, 1)
    each = zip(points.astype(np.float32), times, strict=True)
    rows = [smoother.update(point[None], SURE, extent, time) for point, time in each]
    return np.concatenate(rows).astype(np.float64)


def test_the_formulas_at_uneven_times() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.017, 0.033, 0.1, 0.7], 80)).tolist()
    points = np.cumsum(rng.normal(0, 3, (80, 2)), axis=0)
    for it in (OneEuro(), OneEuro(cutoff=0.3, beta=2.5, speed_cutoff=4)):
        want = reference(list(map(tuple, points.tolist())), times, 60.0, it)
        assert np.allclose(smoothed(points, times, 60.0, it), want, atol=1e-4)


@pytest.mark.parametrize("rate", [10, 30, 120])
@pytest.mark.parametrize("speed", [5.0, 100.0, 2000.0])
def test_the_lag_of_a_steady_motion_is_bounded(rate: int, speed: float) -> None:
    it, extent = OneEuro(), 80.0
    times = np.arange(3 * rate) / rate
    path = np.stack([0.6 * speed * times, 0.8 * speed * times], 1)
    lag = np.linalg.norm(path - smoothed(path, times.tolist(), extent, it), axis=1)[-1]
    assert lag == pytest.approx(speed / (2 * np.pi * (it.cutoff + it.beta * speed / extent)), rel=0.01)
    assert lag < extent / (2 * np.pi * it.beta) < 0.008 * extent


def test_noise_falls_at_rest_at_any_scale() -> None:
    noise = np.random.default_rng(1).normal(0, 0.5, (400, 2))
    times = (np.arange(400) / 30).tolist()
    one = smoothed(100 + noise, times, 100.0, OneEuro())[100:] - 100
    assert one.std() < 0.65 * noise.std()
    ten = smoothed(1000 + 10 * noise, times, 1000.0, OneEuro())[100:] - 1000
    assert np.allclose(ten, 10 * one, atol=2e-3)


def test_points_that_are_missing_or_not_believed() -> None:
    it = OneEuro(gap=0.5)
    smoother = Smoother(it, 3)

    def see(time: float, x: Sequence[float], score: float = 1.0) -> list[float]:
        points = np.stack([x, np.zeros(3)], 1).astype(np.float32)
        points[np.isnan(x)] = np.nan
        scores = np.array([1, 1, score], np.float32)
        return np.asarray(smoother.update(points, scores, 50.0, time))[:, 0].tolist()

    nan = math.nan
    assert see(0.0, [10, 10, 10]) == [10, 10, 10]
    first, second, third = see(0.1, [10, nan, 90], score=0.05)
    assert (first, third) == (10, 10)
    assert math.isnan(second)
    want = reference([(10, 0), (12, 0)], [0.0, 0.2], 50.0, it)[1][0]
    assert see(0.2, [10, 12, 90], score=0.05)[1] == pytest.approx(want)  # the step is the time since it was last seen
    assert see(0.6, [10, nan, 90], score=0.05)[2] == 90  # not seen for longer than the gap: as given
    assert see(0.8, [10, 30, 20])[1:] == [30, 20]  # anew
    assert see(0.8, [50, 50, 50]) == [10, 30, 20]  # no time has passed


def test_parameters_are_checked() -> None:
    with pytest.raises(ConfigError, match="cutoffs above 0 Hz"):
        OneEuro(cutoff=0)
    with pytest.raises(ConfigError, match="at least 0"):
        OneEuro(beta=-1)
