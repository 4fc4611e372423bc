"""Where to look: the 2x3 maps that bring a face of a picture into a model's images, upright and of the size it learnt.

A model knows the mean shape of its training images' keypoints. Landmarks that a face detector found, and later the
model's own keypoints, are brought onto that shape by the nearest similarity, which undoes a head's tilt and makes the
looseness of a box matter less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base import face68
from kptool.base.geometry import Box, Size, apply_affine, fit_box, fit_similarity, invert_affine
from kptool.network.cards import Card
from kptool.predict.faces import LANDMARKS

Affine = NDArray[np.float64]

_IN_BOX = np.array([[0.268, 0.379], [0.732, 0.379], [0.5, 0.579], [0.299, 0.733], [0.701, 0.733]])
"""Where the `LANDMARKS` lie in a face detector's box, in its width and height: medians over 379 faces, made symmetric."""
_LEAST, _MOST = 8.0, 8.0


@dataclass(frozen=True)
class Aligner:
    """The mean shape (k, 2), pixels of the model's images of `size`, of those of its K keypoints that are `known` (K,),
    having been labelled, and the `LANDMARKS` (5, 2) on it."""

    shape: NDArray[np.float64]
    anchors: NDArray[np.float64]
    size: Size
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, card: Card) -> Aligner | None:
        """The aligner of a model; None where it does not know its mean shape, or its keypoints are not a face's."""
        names, stored = card.config.names, card.data.get("mean_shape")
        weights = five_point_weights(names)
        if weights is None or not isinstance(stored, list):
            return None
        try:
            shape = np.array(stored, np.float64)
        except (TypeError, ValueError):
            return None
        known = ~np.isin(names, card.unlearnt)
        if shape.shape != (len(names), 2) or not np.isfinite(shape[known]).all() or weights[:, ~known].any():
            return None
        return cls(shape[known], weights[:, known] @ shape[known], card.config.size, known)

    def from_five_points(self, landmarks: NDArray[np.float64]) -> Affine:
        """The map for a face whose `LANDMARKS` (5, 2) are known, in the picture's pixels."""
        return fit_similarity(landmarks, self.anchors)

    def from_box(self, box: Box) -> Affine:
        """The map for a face in a box as face detectors give it: forehead to chin, cheek to cheek."""
        return self.from_five_points(np.array(box[:2]) + _IN_BOX * np.array(box[2:]))

    def from_keypoints(self, points: NDArray[np.floating]) -> Affine:
        """The map for a face whose keypoints (K, 2) are known, in the picture's pixels."""
        return fit_similarity(points[self.known], self.shape)


def five_point_weights(names: Sequence[str]) -> NDArray[np.float64] | None:
    """How the `LANDMARKS` follow from keypoints of these names, (5, K); None where they are not a face's.

    Known are keypoints that are called like the landmarks, and 68 numbered ones, as 300-W has them.
    """
    if set(LANDMARKS) <= set(names):
        return np.eye(len(names))[[list(names).index(name) for name in LANDMARKS]]
    if not face68.is_face68(names):
        return None
    weights = np.zeros((len(LANDMARKS), len(names)))
    for row, name in zip(weights, LANDMARKS, strict=True):
        points = face68.PARTS[name]
        row[list(points)] = 1 / len(points)
    return weights


def from_box(box: Box, card: Card) -> Affine:
    """The map that brings a box into an image with the margin that the model's training images had, aspect kept."""
    margin = card.data.get("margin")
    if not isinstance(margin, float | int) or not 0 <= margin <= 2:
        margin = 0.0
    return fit_box(box, card.config.size, margin)


def whole(picture: Size, size: Size) -> Affine:
    """The map that brings all of a picture into an image of `size`, aspect kept."""
    return fit_box((-0.5, -0.5, float(picture[1]), float(picture[0])), size)


def sane(affine: Affine, size: Size, picture: Size) -> bool:
    """Whether a map looks at between 8 pixels and 8 times the picture, and at a part of the picture at all."""
    if not np.isfinite(affine).all():
        return False
    scale = math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))
    if not (scale > 0 and _LEAST <= max(size) / scale <= _MOST * max(picture)):
        return False
    x, y = apply_affine(invert_affine(affine), np.array([[(size[1] - 1) / 2, (size[0] - 1) / 2]]))[0]
    return bool(-max(picture) <= x <= 2 * max(picture) and -max(picture) <= y <= 2 * max(picture))


def shift(before: Affine, after: Affine, shape: NDArray[np.float64]) -> float:
    """How far a second map moves a face from where the first one put it, in pixels of the model's images.

    The mean over points (K, 2) of the crop that `after` makes, looked up in the crop that `before` made.
    """
    moved = apply_affine(before, apply_affine(invert_affine(after), shape))
    return float(np.linalg.norm(moved - shape, axis=1).mean())
