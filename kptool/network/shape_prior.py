"""Where a keypoint whose heatmap is unsure must be, given the others: a shape model that chooses among a heatmap's peaks.

A heatmap with two peaks of similar height says that a paw is here or there, and takes the wrong one as often as not. The
positions of the sure keypoints tell which. Shapes are modelled as probabilistic principal components (Tipping & Bishop,
Journal of the Royal Statistical Society B 1999) of training shapes that were aligned by similarities; given the sure
keypoints, each other one is Gaussian, in closed form. Heatmap times Gaussian, at its highest, is the new peak, from
which the position is decoded as from any other. A peak that is not clearly less likely than the new one stays, to the last
digit, so sure predictions never change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.base.geometry import apply_affine, fit_similarity, invert_affine
from kptool.data import shapes

Floats = NDArray[np.float64]
Look = Callable[[int, int], NDArray[np.floating[Any]]]
"""(instance, keypoint) -> its heatmap (h, w), with a peak of about 1."""

_COMPONENTS, _ROUNDS = 12, 20
"""Principal components at most, and iterations that fill in missing labels."""
_LEAST_SHAPES, _PER_COMPONENT, _LEAST_KEYPOINTS = 24, 8, 5
"""Training shapes needed, and for each component; keypoints without which the others say little."""
_SURE = 0.5
"""The height of the peak from which on a keypoint is sure; so is the better half of an instance's keypoints."""
_WIDER, _NEW = 2.0, 1.5
"""Factors of the standard deviations: shapes of new instances vary more than the training shapes; and of the residual
variances, which fitting makes too small."""
_LIKELIER = 3.0
"""How many times as likely the new peak must be. Chosen, with `_WIDER`, on a mouse and two trainings on bees: see
docs/measured.md."""
_WINDOW, _FLOOR = 4, 1e-4
"""Heatmap pixels about the new peak from which the position is decoded, and the value of an empty heatmap."""


@dataclass(frozen=True)
class ShapePrior:
    """mean: (K, 2), NaN for keypoints without labels, about its centre with radius 1. basis: (2K, r), the principal
    components times their standard deviations. variance: (K,), of what they leave, along each axis."""

    mean: Floats
    basis: Floats
    variance: Floats

    @classmethod
    def fit(cls, points: NDArray[np.floating], labelled: NDArray[np.bool_]) -> ShapePrior | None:
        """From training shapes (N, K, 2), labelled (N, K); None with too few shapes or keypoints."""
        mean = shapes.mean_shape(points, labelled)
        if mean is None:
            return None
        known = np.asarray(np.isfinite(mean).all(axis=1))
        target = np.nan_to_num(shapes.to_complex(mean))
        usable = (labelled & known).sum(1) >= max(shapes.LEAST_POINTS, known.sum() / 2)
        rank = min(_COMPONENTS, int(usable.sum()) // _PER_COMPONENT, 2 * int(known.sum()) - 4)
        if usable.sum() < _LEAST_SHAPES or known.sum() < _LEAST_KEYPOINTS or rank < 1:
            return None
        there = labelled[usable] & known
        z = shapes.align(np.where(there, shapes.to_complex(points[usable]), 0), there.astype(float), target)
        given, values = np.repeat(there, 2, axis=1), np.stack([z.real, z.imag], -1).reshape(len(z), -1)
        filled = np.where(given, values, np.nan_to_num(mean).ravel())
        for _ in range(_ROUNDS):
            centre = filled.mean(0)
            off = filled - centre
            # not by a singular value decomposition, which takes seconds on a busy machine, as its threads wait for each other
            squares, axes = np.linalg.eigh(off.T @ off / len(off))
            squares, axes = squares[: -rank - 1 : -1], axes[:, : -rank - 1 : -1]
            model = centre + (off @ axes) @ axes.T
            filled = np.where(given, values, model)
        left, counts = np.where(given, (values - model) ** 2, 0).sum(0), given.sum(0)
        variance = _NEW * (left / np.maximum(counts, 1)).reshape(-1, 2).mean(1) + 1e-6
        basis = axes * np.sqrt(squares)
        return cls(np.where(known[:, None], centre.reshape(-1, 2), np.nan), basis, variance)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; NaN is null."""
        mean = [[None if np.isnan(v) else round(float(v), 5) for v in point] for point in self.mean]
        return {"mean": mean, "basis": self.basis.round(5).tolist(), "variance": self.variance.round(8).tolist()}

    @classmethod
    def of(cls, stored: object, keypoints: int) -> ShapePrior | None:
        """The inverse of `to_dict`, for values from an untrusted file; None for anything else."""
        if not isinstance(stored, Mapping):
            return None
        try:
            mean, basis, variance = (np.array(stored[key], np.float64) for key in ("mean", "basis", "variance"))
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        fits = mean.shape == (keypoints, 2) and variance.shape == (keypoints,)
        if not fits or basis.ndim != 2 or len(basis) != 2 * keypoints or not 1 <= basis.shape[1] <= _COMPONENTS:
            return None
        usable = np.isfinite(basis).all() and np.isfinite(variance).all() and variance.min() > 0
        usable = usable and max(np.abs(basis).max(), np.nanmax(np.abs(mean), initial=0.0), variance.max()) < 1e3
        return cls(mean, basis, variance) if usable else None

    def revise(self, points: NDArray[np.float32], heights: NDArray[np.float32], look: Look) -> NDArray[np.float32]:
        """Points (N, K, 2) in heatmap pixels, whose peaks have heights (N, K) in 0..1, each where its heatmap and the others
        agree best."""
        if heights.min(initial=1) >= _SURE and np.isfinite(points).all():
            return points.copy()  # as for most pictures
        known, revised = np.isfinite(self.mean).all(1), points.copy()
        for i, (shape, height) in enumerate(zip(points.astype(np.float64), heights, strict=True)):
            sure = known & (height >= min(_SURE, float(np.median(height[known])))) & np.isfinite(shape).all(1)
            unsure = np.flatnonzero(known & ~sure)
            if not len(unsure) or sure.sum() < shapes.LEAST_POINTS:
                continue
            found = self._given(shape, sure)
            if found is None:
                continue
            means, inverses = found
            for k in unsure.tolist():
                off = shape[k] - means[k]
                if off @ inverses[k] @ off > 2 * math.log(_LIKELIER):  # else no peak can be so much likelier
                    revised[i, k] = _better(look(i, k), shape[k], means[k], inverses[k])
        return revised

    def _given(self, shape: Floats, sure: NDArray[np.bool_]) -> tuple[Floats, Floats] | None:
        """Mean (K, 2) and inverse covariance (K, 2, 2) of each keypoint given the `sure` ones, in pixels; None where these lie
        in one place."""
        onto = fit_similarity(shape[sure], self.mean[sure])
        scale = math.sqrt(abs(float(np.linalg.det(onto[:, :2]))))
        if not 1e-6 < scale < 1e6:
            return None
        rows = np.repeat(sure, 2)
        noise = np.repeat(self.variance, 2)[rows]
        basis = self.basis[rows]
        off = (apply_affine(onto, shape) - self.mean).ravel()[rows]
        precision = np.eye(basis.shape[1]) + basis.T @ (basis / noise[:, None])
        latent = np.linalg.solve(precision, basis.T @ (off / noise))
        parts = self.basis.reshape(-1, 2, basis.shape[1])
        covariance = parts @ np.linalg.inv(precision) @ parts.transpose(0, 2, 1) + self.variance[
            :, None, None
        ] * np.eye(2)
        mean = self.mean + (self.basis @ latent).reshape(-1, 2)
        back = invert_affine(onto)
        scaled = _WIDER**2 * back[:, :2] @ covariance @ back[:, :2].T + np.eye(2)  # a pixel: the heatmap's own grid
        return apply_affine(back, mean).astype(np.float64), np.linalg.inv(scaled).astype(np.float64)


def _better(
    heatmap: NDArray[np.floating[Any]], point: Floats, mean: Floats, inverse: Floats
) -> NDArray[np.float32] | Floats:
    """The position at the highest product of a heatmap (h, w) and a Gaussian; `point` where that is not clearly likelier."""
    height, width = heatmap.shape
    x, y = np.arange(width) - mean[0], np.arange(height)[:, None] - mean[1]
    distance = inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2
    likely = (np.maximum(heatmap, 0) + _FLOOR) * np.exp(-0.5 * distance)
    row, column = np.unravel_index(int(likely.argmax()), likely.shape)
    at_x, at_y = np.clip(np.rint(point), 0, [width - 1, height - 1]).astype(int)
    same = max(abs(row - at_y), abs(column - at_x)) <= _WINDOW  # a flank of the same peak
    if same or likely[row, column] < _LIKELIER * likely[at_y, at_x]:
        return point
    near = (np.abs(np.arange(width) - column) <= _WINDOW) & (np.abs(np.arange(height) - row) <= _WINDOW)[:, None]
    points, scores = heatmaps.decode(np.where(near, heatmap, 0).astype(np.float32)[None, None], "gaussian")
    peak = np.array([column, row], np.float64)
    return np.asarray(points[0, 0]) if scores[0, 0] > _FLOOR else peak
