"""Where errors are larger along one direction than across it, an ellipse that contains the true point with 90 % probability.

Split conformal prediction, as for the radius (see `kptool.evaluation.conformal`), with the error's length measured in the
metric of its own second moments: on every other held-out image these give the ellipse's shape, on the others its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import stretches
from kptool.evaluation.conformal import LEVEL

LEAST = 80
"""Labels of a keypoint from which on its errors' shape is measured: half of them give the shape, half the size."""
SMALLER = 0.9
"""An ellipse is kept where its area is at most this share of the circle's."""
Floats = NDArray[np.floating[Any]]
Ellipse = tuple[float, float, float]
"""Semi-axes, the longer first, as multiples of the 90 % radius, and the angle of the longer from x towards y in degrees,
-90 to 90."""


def calibrate(
    errors: Floats, std: Floats, labelled: NDArray[np.bool_], quantiles: Sequence[float | None]
) -> list[Ellipse | None]:
    """Each keypoint's ellipse, from errors (N, K, 2) and spreads (N, K) of held-out images where `labelled` (N, K).

    quantiles: the `kptool.evaluation.conformal.calibrate` of the same images. None where there are too few labels, or where the
    ellipse is hardly smaller than the circle.
    """
    found: list[Ellipse | None] = []
    for k, radius in enumerate(quantiles):
        known = labelled[:, k] & (std[:, k] > 0)
        usable = radius is not None and radius > 0 and known.sum() >= LEAST
        found.append(_one(errors[known, k] / std[known, k, None], float(radius or 0)) if usable else None)
    return found


def _one(errors: Floats, radius: float) -> Ellipse | None:
    """The ellipse of errors (n, 2) in spreads, where `radius` is the circle's."""
    shaping, sizing = errors[::2].astype(np.float64), errors[1::2].astype(np.float64)
    variances, axes = np.linalg.eigh(shaping.T @ shaping / len(shaping))
    if not variances[0] > 1e-12:
        return None
    lengths = np.sqrt(((sizing @ axes) ** 2 / variances).sum(1))
    rank = math.ceil((len(lengths) + 1) * LEVEL)
    semi = np.sqrt(variances) * float(np.sort(lengths)[rank - 1]) / radius
    if semi.prod() > SMALLER:
        return None
    x, y = axes[:, 1] * (1 if axes[0, 1] >= 0 else -1)
    return float(semi[1]), float(semi[0]), math.degrees(math.atan2(y, x))


def mapped(ellipses: Floats, radius: Floats, linear: Floats) -> Floats:
    """`ellipses` (K, 3) about points whose radius is `radius` (K,), after the linear map (2, 2): semi-axes in its pixels, and
    the angle in degrees; NaN stays."""
    angle = np.radians(ellipses[:, 2])
    turn = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2)
    matrix = linear @ turn * (ellipses[:, None, :2] * radius[:, None, None])
    longer, shorter, turned = stretches(matrix)
    return np.stack([longer, shorter, np.degrees(turned)], -1).astype(np.float32)
