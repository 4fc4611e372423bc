"""The map from a heatmap's peak height to the probability that the keypoint is there: a logistic function (Platt scaling).

    probability = 1 / (1 + exp(-(scale * log(height) + shift)))

`kptool.evaluation.presence` fits it on validation images; a weights file stores it among its metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

KEY, MISSING = "presence", "presence_missing"
"""Of the metrics of a card: the map, or a sentence on why there is none."""
FLOOR = 1e-3
"""The lowest height that is told apart."""
CALIBRATED = (
    "the probability that an annotator would have labelled the keypoint, calibrated on the validation images: 0.5 means as"
    " likely as not"
)
HEIGHT = "the height of the heatmap's peak, which is not a probability"
CONSTANT = "always 1: the model predicts coordinates and has no heatmap to tell absent keypoints by"


@dataclass(frozen=True)
class Presence:
    """scale: the slope of the log-odds over the logarithm of the height, at least 0. shift: float64 (K,), the log-odds of
    each keypoint at height 1; NaN for a keypoint that is not calibrated, whose score stays the height."""

    scale: float
    shift: NDArray[np.float64]

    @classmethod
    def of(cls, metrics: Mapping[str, Any], count: int) -> Presence | None:
        """From the `metrics` of a card with `count` keypoints; None where there is none, or none that is valid."""
        stored = metrics.get(KEY)
        if not isinstance(stored, dict):
            return None
        scale, shift = stored.get("scale"), stored.get("shift")
        if not isinstance(shift, list) or len(shift) != count or not _number(scale) or not float(scale) >= 0:
            return None
        if not all(each is None or _number(each) for each in shift) or all(each is None for each in shift):
            return None
        return cls(float(scale), np.array([np.nan if each is None else each for each in shift], np.float64))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which keypoints (K,) are calibrated."""
        return np.isfinite(self.shift)

    def apply(self, heights: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Peak heights (..., K) in 0..1 -> scores (..., K), float32."""
        odds = self.scale * np.log(np.clip(heights, FLOOR, 1).astype(np.float64)) + np.where(self.known, self.shift, 0)
        return np.where(self.known, 1 / (1 + np.exp(-odds)), heights).astype(np.float32)


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 1e6
