"""A radius for every keypoint that holds the truth 9 times in 10: split conformal prediction.

Distances between prediction and truth on images that were not trained on, divided by how spread the heatmap was, have
a quantile for each keypoint; a new prediction's radius is that quantile times its own spread. If new images are like
the measured ones (exchangeable), at least 90 % of true points lie within, on average over such images (Lei et al.,
Distribution-free predictive inference for regression, JASA 2018, section 5.2).
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
"""Labels that a radius takes at this level: with fewer, even the largest error may be among the smaller nine tenths."""
Floats = NDArray[np.floating[Any]]


def calibrate(distances: Floats, std: Floats, labelled: NDArray[np.bool_], level: float = LEVEL) -> list[float | None]:
    """The quantile of each keypoint from distances and spreads (N, K), where `labelled` (N, K); None where too few are.

    It is the ceil((n + 1) * level)-th smallest of n ratios, which needs n of at least level / (1 - level).
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
    """Why keypoints have no radius, in words; None where all have one. `held_out`: whether images were kept for it."""
    missing = [name for name, quantile in zip(names, quantiles, strict=True) if quantile is None]
    if not held_out:
        return "there were no validation images to measure a 90 % radius on"
    if not missing:
        return None
    which = "every keypoint" if len(missing) == len(names) else listed(missing)
    return (
        f"a 90 % radius takes {LEAST} validation images in which the keypoint is labelled; there are fewer of {which}"
    )
