"""How far the labels of a data set lie from the features that they name, as far as that is known.

Labels are often off in one direction: rounding down alone moves all of them to the left and up. A network learns that
with them. `kptool.network.keypoint_model` measures what of it changes its sign in the mirror, which is all of x and, of y, how
much lower the labels of one side lie than those of the other. What all labels are off in y looks the same in the mirror: it
takes other ways to know it (see docs/label-shift.md), and is unknown unless a weights file says it.
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
"""What points are, after "points"."""
RADIUS = (
    "pixels that held the label 9 times in 10, about the point as labelled; about a feature they presume that labels"
    " are off by the same for every picture"
)
_MIRROR = "measured in the mirror"


@dataclass(frozen=True)
class LabelShift:
    """Labels minus features, in pixels of a model's images, x to the right and y down.

    offset: float64 (K, 2), what was measured in the mirror; None where nothing was. y: what all labels lie below their
    features beside that, its standard error, and how that is known, in words; None where it is unknown.
    """

    count: int
    offset: NDArray[np.float64] | None = None
    y: float | None = None
    y_error: float | None = None
    y_from: str | None = None

    @classmethod
    def of(cls, stored: Mapping[str, Any], count: int) -> LabelShift:
        """From the `labels` of a card with `count` keypoints; what is missing there, or no number, is unknown."""
        offset = _offset(stored.get("offset"), count)
        y, error, source = _number(stored.get("y")), _number(stored.get("y_error")), stored.get("y_from")
        if y is None or not isinstance(source, str):
            return cls(count, offset)
        return cls(count, offset, y, error, source)

    def vector(self) -> NDArray[np.float32]:
        """(K, 2), what to take off points as labelled to have the features; 0 where it is unknown."""
        shift = np.zeros((self.count, 2)) if self.offset is None else self.offset.copy()
        shift[:, 1] += self.y or 0.0
        return shift.astype(np.float32)

    def points(self, as_labelled: bool) -> str:
        """What points are called that were asked for `as_labelled` or not: where nothing is known, they are as labelled."""
        known = self.offset is not None or self.y is not None
        return FEATURE if known and not as_labelled else AS_LABELLED

    def describe(self) -> dict[str, Any]:
        """Plain values: of each axis the mean over the keypoints, its standard error, and how it is known; null: unknown."""
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
        """What points say, for people."""
        if self.points(as_labelled) == AS_LABELLED:
            unknown = "" if as_labelled else "; how far that is off the features is unknown"
            return f"points lie where the training data's labels would{unknown}"
        x = f"{self.offset[:, 0].mean():+.2f} px in x" if self.offset is not None else "an unknown shift in x"
        y = "an unknown shift in y" if self.y is None else f"{self.vector()[:, 1].mean():+.2f} px in y"
        return f"points lie on the features; labels are off them by {x} and {y}, pixels of the model's images"


def _offset(stored: object, count: int) -> NDArray[np.float64] | None:
    """The measured offset; None where it is of another shape, no numbers, or all 0, as it is where nobody measured."""
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
