"""Calibrated scores: fits the probability that a keypoint is there to the heights of heatmap peaks on validation images.

A logistic regression on the logarithm of the height, with an intercept for each keypoint that is drawn towards their
common one, so that a keypoint with few labels has nearly the common curve and one with many has its own rate (Platt,
Probabilistic outputs for support vector machines, 1999, with his targets; a normal prior of width 1 on the intercepts).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import Size, from_edges
from kptool.network.presence import FLOOR, Presence

LEAST = 10
"""The fewest keypoints that are there, and that are absent, in the validation images for a calibration."""
FOLDS, BINS = 5, 5
_RIDGE, _NONE = 1.0, 1e-6
_STEPS = 50

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Reliability:
    """How well scores (n,) in 0..1 tell what is there.

    brier: the mean squared difference between the score and 1 (there) or 0 (absent). auc: the probability that a keypoint
    that is there has a higher score than an absent one; NaN without both. bins: for each fifth of 0..1, the number of
    scores in it, their mean and the share that is there; None without scores.
    """

    brier: float
    auc: float
    bins: tuple[tuple[int, float | None, float | None], ...]

    @classmethod
    def of(cls, scores: Floats, there: Flags) -> Reliability:
        """Measure scores (n,) against what is there (n,)."""
        index = np.minimum((scores * BINS).astype(int), BINS - 1)
        bins = []
        for each in range(BINS):
            inside = index == each
            count = int(inside.sum())
            means = (float(scores[inside].mean()), float(there[inside].mean())) if count else (None, None)
            bins.append((count, *means))
        return cls(float(np.square(scores - there).mean()), auc(scores, there), tuple(bins))


def auc(scores: Floats, there: Flags) -> float:
    """The area under the ROC curve, by ranks; ties count half. NaN if all or none are there."""
    ones, zeros = int(there.sum()), int((~there).sum())
    if not ones or not zeros:
        return math.nan
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[there].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def fit(heights: Floats, there: Flags, counted: Flags) -> Presence:
    """The map fitted to heights (N, K) in 0..1 of keypoints that are `there` (N, K), where `counted` (N, K)."""
    rows, columns = np.nonzero(counted)
    x = np.log(np.clip(heights[rows, columns], FLOOR, 1).astype(np.float64))
    ones = int(there[rows, columns].sum())
    targets = (ones + 1) / (ones + 2), 1 / (len(rows) - ones + 2)
    y = np.where(there[rows, columns], *targets)
    scale, common, own = _regress(x, y, columns, heights.shape[1])
    if scale < 0:  # lower peaks never mean that a keypoint is there
        scale, common, own = _regress(np.zeros_like(x), y, columns, heights.shape[1])
    return Presence(scale, np.where(counted.any(0), common + own, np.nan))


def _regress(x: Floats, y: Floats, group: NDArray[np.int64], count: int) -> tuple[float, float, Floats]:
    """Slope, intercept and the groups' deviations (count,) from it that minimise the cross-entropy plus half the squares of
    the deviations, by Newton's method; each step is halved until the objective falls."""

    def odds(at: Floats) -> Floats:
        return np.asarray(at[0] * x + at[1] + at[2:][group])

    def objective(at: Floats) -> float:
        z = odds(at)
        return float((np.logaddexp(0, z) - y * z).sum() + 0.5 * (ridge * at * at).sum())

    ridge = np.array([_NONE, _NONE, *[_RIDGE] * count])
    beta, before = np.zeros(2 + count), objective(np.zeros(2 + count))
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-odds(beta).clip(-500, 500)))
        rest, weight = p - y, p * (1 - p)
        own = [np.bincount(group, each, count) for each in (rest, weight, weight * x)]
        gradient = np.array([(rest * x).sum(), rest.sum(), *own[0]]) + ridge * beta
        curvature = np.diag(ridge + np.array([(weight * x * x).sum(), weight.sum(), *own[1]]))
        curvature[0, 1:] = curvature[1:, 0] = (weight * x).sum(), *own[2]
        curvature[1, 2:] = curvature[2:, 1] = own[1]
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while size > _NONE and objective(beta - size * step) > before:
            size /= 2
        beta, before = beta - size * step, objective(beta - size * step)
        if np.abs(size * step).max() < 1e-8:
            break
    return float(beta[0]), float(beta[1]), beta[2:]


def held_out(heights: Floats, there: Flags, counted: Flags) -> NDArray[np.float32]:
    """Scores (N, K), each from a map that was fitted without its image: five parts of consecutive images, since neighbours
    are often frames of one video."""
    scores = heights.astype(np.float32).copy()
    for part in np.array_split(np.arange(len(heights)), FOLDS):
        rest = counted.copy()
        rest[part] = False
        if rest.any() and len(part):
            fitted = fit(heights, there, rest)
            known = counted & fitted.known  # a keypoint that is counted in this part alone keeps its height
            scores[part] = np.where(known[part], fitted.apply(heights[part]), scores[part])
    return scores


def counted_labels(points: Floats, labelled: Flags, size: Size, countable: Flags) -> Flags:
    """Which keypoints (N, K) count: those that are `countable` (K,), but for labels outside the image of `size` (H, W),
    which no heatmap can show."""
    inside = ((points >= from_edges(0)) & (points <= from_edges(np.array(size[::-1], np.float64)))).all(-1)
    return np.asarray(countable & (inside | ~labelled))


def calibrate(heights: Floats, there: Flags, counted: Flags) -> dict[str, Any] | None:
    """What a card stores, see `kptool.network.presence`: the map, the numbers it rests on, and its reliability on held-out
    parts of the images beside that of the heights; None with fewer than `LEAST` keypoints there or absent."""
    present, absent = int((there & counted).sum()), int((~there & counted).sum())
    if min(present, absent) < LEAST:
        return None
    fitted = fit(heights, there, counted)
    after = Reliability.of(held_out(heights, there, counted)[counted].astype(np.float64), there[counted])
    before = Reliability.of(heights[counted].astype(np.float64), there[counted])
    return {
        "scale": round(fitted.scale, 6),
        "shift": [None if np.isnan(each) else round(float(each), 6) for each in fitted.shift],
        "images": len(heights),
        "there": present,
        "absent": absent,
        "brier": after.brier,
        "auc": after.auc,
        "height_brier": before.brier,
        "height_auc": before.auc,
    }


def reason(there: Flags, counted: Flags, *, heatmaps: bool, held_out: bool) -> str | None:
    """Why scores are not calibrated on keypoints that are `there` (N, K), where `counted` (N, K), in words; None where every
    keypoint is labelled, so that there is nothing to say."""
    if there.all():
        return None
    if not heatmaps:
        return "the model predicts coordinates, and its scores of 1 do not tell which keypoints are there"
    if not held_out:
        return "scores are not calibrated, as there were no validation images"
    present, absent = int((there & counted).sum()), int((~there & counted).sum())
    return (
        f"scores are not calibrated: that takes {LEAST} keypoints with a label and {LEAST} without one in the validation"
        f" images, and there are {present} and {absent} that count"
    )
