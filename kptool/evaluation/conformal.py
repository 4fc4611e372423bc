"""A radius around each keypoint that contains the true point with 90 % probability: split conformal prediction.

For each keypoint, take the quantile over held-out images of the distance between prediction and truth divided by the
heatmap's spread; a new prediction's radius is that quantile times its own spread. If new images are exchangeable with
the held-out ones, at least 90 % of true points lie within it on average (Lei et al., Distribution-free predictive
inference for regression, JASA 2018, section 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.data.notes import listed

LEVEL = 0.9
_FOLDS = 5
"""Folds of groups, of which each is measured by radii that the others gave."""
_ENOUGH, _LOW = 10, 0.8
"""Labels from which on a group's coverage is reported, and the share below which it is called low."""
LEAST = 9
"""The fewest labels that determine a radius at this level: ceil((n + 1) * 0.9) <= n from n = 9 on."""
Floats = NDArray[np.floating[Any]]


def calibrate(distances: Floats, std: Floats, labelled: NDArray[np.bool_], level: float = LEVEL) -> list[float | None]:
    """Each keypoint's quantile of the n ratios of distances to spreads (N, K) where `labelled` (N, K).

    It is the ceil((n + 1) * level)-th smallest; None where n is below level / (1 - level).
    """
    quantiles: list[float | None] = []
    for k in range(distances.shape[1]):
        ratios = np.sort(distances[labelled[:, k], k] / std[labelled[:, k], k])
        rank = math.ceil((len(ratios) + 1) * level)
        quantiles.append(float(ratios[rank - 1]) if rank <= len(ratios) else None)
    return quantiles


def coverage(distances: Floats, radius: Floats, labelled: NDArray[np.bool_]) -> float:
    """The share of labelled points whose distance is within the radius, all (N, K); NaN where nothing is labelled."""
    return float((distances <= radius)[labelled].mean()) if labelled.any() else math.nan


@dataclass(frozen=True)
class Coverage:
    """How often radii that were calibrated on other groups of images contain the label.

    share: of the `labels` that have a radius, 0..1. groups: the number of groups; lowest, below: the
    lowest share of a group that has ten labels or more, and the share of these groups in which it is below 80 %; None where the
    images have no groups.
    """

    share: float
    labels: int
    groups: int
    lowest: float | None
    below: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return {
            "coverage": self.share,
            "labels": self.labels,
            "groups": self.groups,
            "lowest_group": self.lowest,
            "groups_below_80": self.below,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Names and texts of a table."""
        lines = [("within the 90 % radius of others", f"{self.share:.1%}")]
        if self.lowest is not None and self.below is not None:
            lines.append((f"lowest of {self.groups} groups", f"{self.lowest:.1%}"))
            lines.append(("groups below 80 %", f"{self.below:.0%}"))
        return lines


def cross_coverage(
    distances: Floats, std: Floats, labelled: NDArray[np.bool_], groups: NDArray[np.int64]
) -> Coverage | None:
    """The coverage of each fifth of the groups by the radii of the other four, for distances, spreads and labels (N, K).

    groups: (N,), negative where unknown, which makes an image its own group. None with fewer than five groups,
    or too few labels for any radius.
    """
    unknown = groups < 0
    ids = np.where(unknown, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    names, of = np.unique(ids, return_inverse=True)
    if len(names) < _FOLDS:
        return None
    inside, counted = np.zeros(labelled.shape, bool), np.zeros(labelled.shape, bool)
    for fold in range(_FOLDS):
        here = of % _FOLDS == fold
        quantiles = calibrate(distances[~here], std[~here], labelled[~here])
        factors = np.array([np.nan if each is None else each for each in quantiles], np.float64)
        radius = std[here] * factors
        inside[here] = distances[here] <= radius
        counted[here] = labelled[here] & np.isfinite(radius)
    if not counted.any():
        return None
    share = float(inside[counted].mean())
    if unknown.all():
        return Coverage(share, int(counted.sum()), 0, None, None)
    labels = np.bincount(of, counted.sum(1), len(names))
    shares = np.bincount(of, (inside & counted).sum(1), len(names))[labels >= _ENOUGH] / labels[labels >= _ENOUGH]
    lowest, below = (float(shares.min()), float((shares < _LOW).mean())) if len(shares) else (None, None)
    return Coverage(share, int(counted.sum()), len(names), lowest, below)


def reason(quantiles: Sequence[float | None], names: Sequence[str], *, held_out: bool) -> str | None:
    """Why keypoints have no radius, in words; None where all have one. `held_out`: whether there are validation images."""
    missing = [name for name, quantile in zip(names, quantiles, strict=True) if quantile is None]
    if not held_out:
        return "there were no validation images to measure a 90 % radius on"
    if not missing:
        return None
    which = "every keypoint" if len(missing) == len(names) else listed(missing)
    return (
        f"a 90 % radius takes {LEAST} validation images in which the keypoint is labelled; there are fewer of {which}"
    )
