"""Affine crops that align an object to the model's input, upright and at the size seen in training.

A model stores the mean shape of its training images' keypoints. The landmarks of a face detector, and then the model's
own keypoints, are aligned to that shape by a least-squares similarity transform. This undoes the tilt of a head and
makes the result less sensitive to how tight a box is. Other objects, of which the training images were cut out about
their keypoints, are cut out again about those that were predicted, without a rotation, or turned upright by these if a part
of the training images was. An affine map is 2x3, picture's
pixels -> model input's pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base import face68
from kptool.base.face68 import LANDMARKS
from kptool.base.geometry import Box, Size, apply_affine, fit_box, fit_similarity, invert_affine
from kptool.network.cards import UPRIGHT, Card

Affine = NDArray[np.float64]

_IN_BOX = np.array([[0.268, 0.379], [0.732, 0.379], [0.5, 0.579], [0.299, 0.733], [0.701, 0.733]])
"""`LANDMARKS` in a face detector's box, as shares of its width and height: medians over 379 faces, symmetrised."""
_UPRIGHT = math.radians(12)
"""The tilt up to which a face is upright: training images are rotated by 8 degrees."""
_LEAST = 8.0
"""The smallest region to crop, pixels of the picture."""
_MOST = 8.0
"""The largest region to crop, as a multiple of the picture."""


@dataclass(frozen=True)
class Aligner:
    """Aligns faces to a model's mean shape.

    shape: mean positions (k, 2) of the `known` keypoints, pixels of the model's input of `size`. anchors: the `LANDMARKS`
    (5, 2) of that shape. known: (K,), the keypoints that were labelled in training.
    """

    shape: NDArray[np.float64]
    anchors: NDArray[np.float64]
    size: Size
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, card: Card) -> Aligner | None:
        """The aligner of a model; None if its card has no mean shape, or its keypoints are not a face's."""
        names, stored = card.config.names, card.data.get("mean_shape")
        weights = five_point_weights(names)
        if weights is None or not isinstance(stored, list):
            return None
        try:
            shape = np.array(stored, np.float64)
        except (TypeError, ValueError, OverflowError):
            return None
        known = ~np.isin(names, card.unlearnt)
        if shape.shape != (len(names), 2) or not np.isfinite(shape[known]).all() or weights[:, ~known].any():
            return None
        return cls(shape[known], weights[:, known] @ shape[known], card.config.size, known)

    def from_five_points(self, landmarks: NDArray[np.float64]) -> Affine:
        """The map for a face given its `LANDMARKS` (5, 2), in the picture's pixels."""
        return fit_similarity(landmarks, self.anchors)

    def from_box(self, box: Box) -> Affine:
        """The map for a face given a box as face detectors draw it, forehead to chin and cheek to cheek."""
        return self.from_five_points(np.array(box[:2]) + _IN_BOX * np.array(box[2:]))

    def from_keypoints(self, points: NDArray[np.floating]) -> Affine:
        """The map for a face given its keypoints (K, 2), in the picture's pixels."""
        return fit_similarity(points[self.known], self.shape)


@dataclass(frozen=True)
class Follower:
    """Crops about the box of an object's keypoints, as those were that a model was trained on.

    fill: the share of a crop that this box takes, of the side that it fills more. size: of the model's input. known: (K,),
    the keypoints that were labelled in training.
    """

    fill: float
    size: Size
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, card: Card) -> Follower | None:
        """The follower of a model; None unless its training images followed their keypoints."""
        fill = card.data.get("fill")
        known = ~np.isin(card.config.names, card.unlearnt)
        if not isinstance(fill, float | int) or not 0.05 <= fill <= 1 or not known.any():
            return None
        return cls(float(fill), card.config.size, known)

    @property
    def shape(self) -> NDArray[np.float64]:
        """The corners (4, 2) of the largest box that a crop's keypoints may have."""
        height, width = self.size
        x, y = width * self.fill / 2, height * self.fill / 2
        return np.array([[-x, -y], [x, -y], [-x, y], [x, y]]) + [(width - 1) / 2, (height - 1) / 2]

    def from_keypoints(self, points: NDArray[np.floating]) -> Affine:
        """The map for an object given its keypoints (K, 2), in the picture's pixels."""
        low, high = points[self.known].min(0).astype(float), points[self.known].max(0).astype(float)
        x, y, width, height = (float(v) for v in (*low, *np.maximum(high - low, 1e-6)))
        return fit_box((x, y, width, height), self.size, (1 / self.fill - 1) / 2)


@dataclass(frozen=True)
class FaceFollower:
    """Crops about the box of a face's keypoints, as those of the training images, after turning a tilted face upright."""

    aligner: Aligner
    follower: Follower

    @property
    def shape(self) -> NDArray[np.float64]:
        """See `Follower.shape`."""
        return self.follower.shape

    def from_keypoints(self, points: NDArray[np.floating]) -> Affine:
        """The map for a face given its keypoints (K, 2), in the picture's pixels."""
        linear = self.aligner.from_keypoints(points)[:, :2]
        angle = math.atan2(linear[1, 0], linear[0, 0])
        if abs(angle) <= _UPRIGHT:
            return self.follower.from_keypoints(points)
        cos, sin = math.cos(angle), math.sin(angle)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0]])
        affine = self.follower.from_keypoints(apply_affine(turn, points))
        linear = affine[:, :2] @ turn[:, :2]
        return np.concatenate([linear, affine[:, 2:]], axis=1)


@dataclass(frozen=True)
class Turner:
    """Crops in which an object is turned upright, as it was in a part of a model's training images.

    shape: positions (k, 2) of the `known` keypoints there, pixels of the model's input. known: (K,).
    """

    shape: NDArray[np.float64]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, card: Card) -> Turner | None:
        """The turner of a model; None if its training images were not turned."""
        try:
            stored = np.array(card.data.get(UPRIGHT), np.float64)
        except (TypeError, ValueError, OverflowError):
            return None
        if stored.shape != (len(card.config.names), 2):
            return None
        known = np.isfinite(stored).all(1) & ~np.isin(card.config.names, card.unlearnt)
        shape = stored[known]
        fits = len(shape) > 1 and np.ptp(shape, axis=0).max() >= 1 and np.abs(shape).max() <= 2 * max(card.config.size)
        return cls(shape, known) if fits else None

    def from_keypoints(self, points: NDArray[np.floating]) -> Affine:
        """The map for an object given its keypoints (K, 2), in the picture's pixels."""
        return fit_similarity(points[self.known], self.shape)


Refiner = Aligner | Follower | FaceFollower | Turner
"""What says how to cut out an instance again, given its keypoints."""


def five_point_weights(names: Sequence[str]) -> NDArray[np.float64] | None:
    """Weights (5, K) that compute the `LANDMARKS` from keypoints of these names; None if they are not a face's.

    Keypoints named like the landmarks are recognised, and the 68 numbered points of 300-W.
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
    """The map of a box to the model's input, with the margin of the training images, keeping the aspect ratio."""
    margin = card.data.get("margin")
    if not isinstance(margin, float | int) or not 0 <= margin <= 2:
        margin = 0.0
    return fit_box(box, card.config.size, margin)


def whole(picture: Size, size: Size) -> Affine:
    """The map of a whole picture to a model input of `size`, keeping the aspect ratio."""
    return fit_box(whole_box(picture), size)


def whole_box(picture: Size) -> Box:
    """The box (x, y, width, height) of a whole picture, from edge to edge."""
    return (-0.5, -0.5, float(picture[1]), float(picture[0]))


def sane(affine: Affine, size: Size, picture: Size) -> bool:
    """Whether a map crops a region of 8 pixels to 8 times the picture's size, centred on or near the picture."""
    if not np.isfinite(affine).all():
        return False
    (a, b, _), (c, d, _) = affine.tolist()
    scale = math.sqrt(abs(a * d - b * c))
    if not (scale > 0 and _LEAST <= max(size) / scale <= _MOST * max(picture)):
        return False
    x, y = apply_affine(invert_affine(affine), np.array([[(size[1] - 1) / 2, (size[0] - 1) / 2]]))[0]
    return bool(-max(picture) <= x <= 2 * max(picture) and -max(picture) <= y <= 2 * max(picture))


def shift(before: Affine, after: Affine, shape: NDArray[np.float64]) -> float:
    """The mean distance in model input pixels between a face in the crop `before` and in the crop `after`.

    Measured at the points `shape` (K, 2) of the crop `after`, mapped back to the crop `before`.
    """
    moved = apply_affine(before, apply_affine(invert_affine(after), shape))
    return float(np.hypot(*(moved - shape).T).mean())
