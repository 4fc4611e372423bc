"""A radius around each keypoint that contains the true point with 90 % probability: split conformal prediction.

For each keypoint, take the quantile over held-out images of the distance between prediction and truth divided by the
heatmap's spread; a new prediction's radius is that quantile times its own spread. If new images are exchangeable with
the held-out ones, at least 90 % of true points lie within it on average (Lei et al., Distribution-free predictive
inference for regression, JASA 2018, section 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.data.notes import listed

LEVEL = 0.9
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
