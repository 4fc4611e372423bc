"""The systematic shift between a data set's labels and the image features that they name, where it is known.

Labels are often biased in one direction: rounding coordinates down moves all of them left and up, and a network learns
that bias. `kptool.network.keypoint_model` measures the part that changes its sign under mirroring: all of x, and in y
the difference between the left and the right keypoints. A shift of all labels in y is mirror-symmetric and must be
measured in another way (see docs/label-shift.md); it is unknown unless a weights file states it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEATURE, AS_LABELLED = "feature", "as labelled"
POINTS = {FEATURE: "on the features", AS_LABELLED: "as labelled"}
"""In messages, this follows the word "points"."""
RADIUS = (
    "pixels that held the label 9 times in 10, about the point as labelled; about a feature they presume that labels"
    " are off by the same for every picture"
)
_MIRROR = "measured in the mirror"


@dataclass(frozen=True)
class LabelShift:
    """Labels minus features, in pixels of a model's images, x to the right and y down.

    count: the number of keypoints K. offset: float64 (K, 2), measured by mirroring; None where it was not. y: how far
    all labels lie below their features in addition; y_error: its standard error; y_from: how it was measured, in words;
    None where unknown.
    """

    count: int
    offset: NDArray[np.float64] | None = None
    y: float | None = None
    y_error: float | None = None
    y_from: str | None = None

    @classmethod
    def of(cls, stored: Mapping[str, Any], count: int) -> LabelShift:
        """From the `labels` of a card with `count` keypoints; missing entries and those that are not numbers are unknown."""
        offset = _offset(stored.get("offset"), count)
        y, error, source = _number(stored.get("y")), _number(stored.get("y_error")), stored.get("y_from")
        if y is None or not isinstance(source, str):
            return cls(count, offset)
        return cls(count, offset, y, error, source)

    def vector(self) -> NDArray[np.float32]:
        """(K, 2): subtract it from points as labelled to get points on the features; 0 where it is unknown."""
        shift = np.zeros((self.count, 2)) if self.offset is None else self.offset.copy()
        shift[:, 1] += self.y or 0.0
        return shift.astype(np.float32)

    def points(self, as_labelled: bool) -> str:
        """`FEATURE` or `AS_LABELLED`: what points requested `as_labelled` or not are; without a known shift, as labelled."""
        known = self.offset is not None or self.y is not None
        return FEATURE if known and not as_labelled else AS_LABELLED

    def describe(self) -> dict[str, Any]:
        """For JSON: each axis' mean over the keypoints, y's standard error, and how they were measured; None is unknown."""
        x = None if self.offset is None else round(float(self.offset[:, 0].mean()), 4)
        y = None if self.y is None else round(float(self.vector()[:, 1].mean()), 4)
        return {
            "x": x,
            "x_from": None if x is None else _MIRROR,
            "y": y,
            "y_error": self.y_error,
            "y_from": self.y_from,
        }

    def sentence(self, as_labelled: bool) -> str:
        """One sentence for people: where points lie, and how far labels are from features."""
        if self.points(as_labelled) == AS_LABELLED:
            unknown = "" if as_labelled else "; how far that is off the features is unknown"
            return f"points lie where the training data's labels would{unknown}"
        x = f"{self.offset[:, 0].mean():+.2f} px in x" if self.offset is not None else "an unknown shift in x"
        y = "an unknown shift in y" if self.y is None else f"{self.vector()[:, 1].mean():+.2f} px in y"
        return f"points lie on the features; labels are off them by {x} and {y}, pixels of the model's images"


def _offset(stored: object, count: int) -> NDArray[np.float64] | None:
    """The measured offset; None where it has another shape, is not finite, or is all 0, its value before measuring."""
    try:
        offset = np.array(stored, np.float64)
    except (TypeError, ValueError):
        return None
    if offset.shape != (count, 2) or not np.isfinite(offset).all() or not offset.any():
        return None
    return offset


def _number(value: object) -> float | None:
    good = isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None  # type: ignore[arg-type]
