"""A radius for every keypoint that holds the truth 9 times in 10: split conformal prediction.

Distances between prediction and truth on images that were not trained on, divided by how spread the heatmap was, have
a quantile for each keypoint; a new prediction's radius is that quantile times its own spread. If new images are like
the measured ones (exchangeable), at least 90 % of true points lie within, on average over such images (Lei et al.,
Distribution-free predictive inference for regression, JASA 2018, section 5.2).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.9
Floats = NDArray[np.floating[Any]]


def calibrate(distances: Floats, spread: Floats, labelled: NDArray[np.bool_], level: float = LEVEL) -> list[float]:
    """The factor of each keypoint from distances and spreads (N, K), where `labelled` (N, K); 0 where too few are.

    It is the ceil((n + 1) * level)-th smallest of n ratios, which needs n of at least level / (1 - level).
    """
    factors = []
    for k in range(distances.shape[1]):
        ratios = np.sort(distances[labelled[:, k], k] / spread[labelled[:, k], k])
        rank = math.ceil((len(ratios) + 1) * level)
        factors.append(float(ratios[rank - 1]) if rank <= len(ratios) else 0.0)
    return factors


def coverage(distances: Floats, radius: Floats, labelled: NDArray[np.bool_]) -> float:
    """The share of labelled points whose distance is within the radius, all (N, K)."""
    return float((distances <= radius)[labelled].mean()) if labelled.any() else 0.0
