"""Confidence intervals of the RMSE, by bootstrap over groups.

Images of one person or video are alike, so whole groups are drawn with replacement; drawing images would make intervals too
narrow. The interval covers the choice of images, not that of a training's seed. Reference: the percentile bootstrap of Efron &
Tibshirani, An Introduction to the Bootstrap (1993), chapter 13, on clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS, SEED, LEVEL = 2000, 0, 0.95
_AT_ONCE = 4_000_000
"""Numbers in memory: draws times groups."""
_LEAST = 5
"""With fewer groups there is no interval: the few that can be drawn say little."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    """The 95 % intervals of the RMSE, pixels: of all keypoints, and of each by name, None where nothing is known.

    groups: the number that was drawn from. grouped: whether they are groups of images rather than single images.
    """

    rmse: Interval | None
    per_keypoint: dict[str, Interval | None]
    groups: int
    grouped: bool

    def words(self) -> str:
        """How the intervals were computed, in one sentence."""
        kind = "groups of images" if self.grouped else "images"
        if self.rmse is None:
            return f"No confidence intervals: there are only {self.groups} {kind}."
        return (
            f"Intervals: {LEVEL:.0%}, percentile bootstrap over {self.groups} {kind}, {DRAWS} draws, seed {SEED}; they cover"
            " the choice of images, not that of the training's seed."
        )


def rmse_intervals(
    errors: NDArray[np.floating[Any]], labelled: NDArray[np.bool_], groups: NDArray[np.int64], names: Sequence[str]
) -> Intervals:
    """The intervals for `errors` (N, K, 2) in pixels where `labelled` (N, K).

    groups: (N,) as in a cache, -1 for images without one, which are groups of their own.
    """
    some = labelled.any(1)
    own = np.where(groups < 0, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    _, member = np.unique(own[some], return_inverse=True)
    count = int(member.max(initial=-1)) + 1
    grouped = count < int(some.sum())
    squares = np.where(labelled[..., None], np.square(errors, dtype=np.float64), 0).sum(-1)[some]
    sums, numbers = (np.zeros((count, labelled.shape[1])) for _ in range(2))
    np.add.at(sums, member, squares)
    np.add.at(numbers, member, 2.0 * labelled[some])
    if count < _LEAST:
        return Intervals(None, dict.fromkeys(names), count, grouped)
    each, together = _draw(sums, numbers)
    low, high = _quantiles(each)
    keypoints: dict[str, Interval | None] = {
        name: None if np.isnan(a) else (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)
    }
    a, b = _quantiles(together[:, None])
    return Intervals((float(a[0]), float(b[0])), keypoints, count, grouped)


def _draw(sums: NDArray[np.float64], numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The RMSE of each keypoint (DRAWS, K) and of all (DRAWS,) in each draw of the G groups, by their sums of squares and
    numbers of coordinates (G, K); NaN where a draw has no label."""
    rng, count = np.random.default_rng(SEED), len(sums)
    each, together = np.empty((DRAWS, sums.shape[1])), np.empty(DRAWS)
    step = max(1, _AT_ONCE // count)
    for start in range(0, DRAWS, step):
        part = slice(start, min(start + step, DRAWS))
        times = rng.multinomial(count, np.full(count, 1 / count), size=part.stop - part.start).astype(np.float64)
        squares, labels = times @ sums, times @ numbers
        with np.errstate(invalid="ignore", divide="ignore"):
            each[part] = np.sqrt(squares / labels)
            together[part] = np.sqrt(squares.sum(1) / labels.sum(1))
    return each, together


def _quantiles(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The interval's ends (K,) of `values` (DRAWS, K), without NaN; NaN where most draws are."""
    tail = (1 - LEVEL) / 2
    enough = np.isfinite(values).mean(0) > 0.5
    filled = np.where(enough, values, 0.0)
    low, high = np.nanquantile(filled, [tail, 1 - tail], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)
