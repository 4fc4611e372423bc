"""Suspicious labels: those far from an out-of-fold prediction, or from the position implied by the other keypoints.

Without a trained model, a linear one is fitted in seconds: ridge regression from gradient histograms and a thumbnail to
keypoints, cross-validated with near-duplicates kept in one fold. The position implied by the other keypoints is the
conditional mean of a Gaussian over shapes. Both residuals are in robust units: multiples of the keypoint's median
residual.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.data import shapes
from kptool.data.splits import folds

_FOLDS = 5
_LEAST = 40
"""The linear model needs this many images."""
_RIDGE, _SHAPE_RIDGE = 0.00025, 1e-3
"""Regularisation of the regression and of the covariance of shapes."""
_OUTLIER = 8.0
"""Labels with a residual above this, in units, are left out in the second round."""
_FLOOR = 0.02
"""Lower limit of a unit, as a share of the radius of a typical shape."""
_MIRRORED, _CLEARLY, _LEAST_MIRRORED = 2.5, 2.0, 4
"""Of a mirrored shape: largest residual in units, how many times as large it is unmirrored, and points it needs."""


@dataclass(frozen=True)
class Suspicion:
    """How far labels are from their expected positions.

    units: (N, K), residuals in robust units, at least 0. suggested: (N, K, 2), expected positions in pixels of the cache's
    images. Both are NaN if unknown.
    """

    units: NDArray[np.float64]
    suggested: NDArray[np.float64]

    def ranking(self) -> NDArray[np.int64]:
        """Sample indices (N,), the most suspicious first."""
        return np.argsort(-np.nan_to_num(self.units, nan=-1).max(1), kind="stable")


def linear(
    features: NDArray[np.float32], points: NDArray[np.float32], labelled: NDArray[np.bool_], groups: NDArray[np.int64]
) -> Suspicion:
    """Compare points (N, K, 2) with a cross-validated linear model on features (N, D), and with each other.

    Samples of one group (`groups` (N,), -1 for none) are in one fold. In two rounds: outliers found in the first are left
    out of the second. All NaN if there are too few images or groups.
    """
    nothing = Suspicion(np.full(labelled.shape, np.nan), np.full(points.shape, np.nan))
    distinct = len(np.unique(np.where(groups >= 0, groups, -1 - np.arange(len(groups)))))
    if min(len(points), distinct) < _LEAST:
        return nothing
    part = folds(groups, _FOLDS, seed=0)
    trusted, floor = labelled.copy(), _floor(points, labelled)
    for _ in range(2):
        filled = _filled(points, trusted)
        predicted = _cross_validated(features, filled, np.asarray(trusted.any(1)), part)
        units = _robust(points - predicted, labelled, floor)
        shape = points - _conditional(filled, np.asarray(trusted.all(1)))
        units = np.fmax(units, np.where(labelled.all(1, keepdims=True), _robust(shape, labelled, floor), 0))
        trusted = labelled & (units < _OUTLIER)
    return Suspicion(units, predicted)


def predicted(points: NDArray[np.float32], labelled: NDArray[np.bool_], found: NDArray[np.float64]) -> Suspicion:
    """Compare points (N, K, 2) with a trained model's predictions `found` (N, K, 2), NaN for samples without one."""
    return Suspicion(_robust(points - found, labelled & np.isfinite(found).all(-1), _floor(points, labelled)), found)


def mirrored(points: NDArray[np.floating], labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Samples (N,) whose shape clearly fits the others' only when mirrored, as of an object seen from the other side.

    points (N, K, 2). Flip pairs are not swapped: an animal in profile that faces the other way keeps its left and right.
    """
    mean = shapes.mean_shape(points, labelled)
    if mean is None:
        return np.zeros(len(points), bool)
    z, target = shapes.to_complex(points), shapes.to_complex(mean)
    known, unit = labelled & np.isfinite(target), shapes.typical_distance(points, labelled, mean)
    target, count = np.nan_to_num(target), known.sum(1)
    off = []
    for each in (z, z.conj()):
        residual = np.where(known, np.abs(shapes.align(each, known / unit**2, target) - target) / unit, 0)
        off.append(np.sqrt(np.square(residual).sum(1) / np.maximum(count, 1)))
    as_is, flipped = off
    return np.asarray((count >= _LEAST_MIRRORED) & (flipped <= _MIRRORED) & (as_is >= _CLEARLY * flipped))


def _cross_validated(
    x: NDArray[np.float32], y: NDArray[np.float64], usable: NDArray[np.bool_], part: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Ridge regression of y (N, K, 2) on x (N, D), each fold predicted from the `usable` samples of the others."""
    flat, result = y.reshape(len(y), -1), np.empty((len(y), y[0].size))
    gram, cross, count = {}, {}, {}
    for fold in range(_FOLDS):
        rows = x[(part == fold) & usable].astype(np.float64)
        gram[fold], cross[fold] = rows.T @ rows, rows.T @ (flat - flat.mean(0))[(part == fold) & usable]
        count[fold] = len(rows)
    for fold in range(_FOLDS):
        others = [f for f in range(_FOLDS) if f != fold]
        left = sum(gram[f] for f in others)
        left = left + _RIDGE * sum(count[f] for f in others) * x.shape[1] * np.eye(x.shape[1])
        weights = np.linalg.solve(left, sum(cross[f] for f in others))
        result[part == fold] = x[part == fold] @ weights + flat.mean(0)
    return result.reshape(y.shape)


def _conditional(points: NDArray[np.float64], whole: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The conditional mean of each keypoint (N, K, 2) given the others, under a Gaussian fitted to the `whole` shapes.

    With the precision matrix P, the conditional mean of block k is x_k - P_kk^-1 (P (x - mean))_k.
    """
    flat = points.reshape(len(points), -1)
    mean = flat[whole].mean(0) if whole.any() else flat.mean(0)
    centred = flat[whole] - mean
    covariance = centred.T @ centred / max(1, len(centred))
    covariance += _SHAPE_RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance)) + 1e-9 * np.eye(
        len(covariance)
    )
    precision = np.linalg.inv(covariance)
    pull = ((flat - mean) @ precision).reshape(points.shape)
    blocks = np.stack([precision[i : i + 2, i : i + 2] for i in range(0, len(precision), 2)])
    return np.asarray(points - np.einsum("kij,nkj->nki", np.linalg.inv(blocks), pull))


def _median(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The median over the first axis, ignoring NaN; 0 for columns of NaN only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # about columns of NaN only
        return np.asarray(np.nan_to_num(np.nanmedian(values, axis=0)))


def _floor(points: NDArray[np.float32], labelled: NDArray[np.bool_]) -> float:
    """The lower limit of a unit, in pixels, which keeps well-labelled keypoints from being held to excessive precision."""
    known = labelled[..., None]
    middle = np.where(known, points, 0).sum(1) / np.maximum(known.sum(1), 1)
    radius = np.sqrt(
        np.where(labelled, np.square(points - middle[:, None]).sum(-1), 0).sum(1) / labelled.sum(1).clip(1)
    )
    return max(0.1, _FLOOR * float(np.median(radius)))


def _filled(points: NDArray[np.float32], labelled: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Points with missing labels replaced by the keypoint's mean."""
    known = labelled[..., None]
    mean = np.where(known, points, 0).sum(0, dtype=np.float64) / np.maximum(known.sum(0), 1)
    return np.where(known, points, mean)


def _robust(residual: NDArray[np.floating], labelled: NDArray[np.bool_], floor: float) -> NDArray[np.float64]:
    """Lengths of residuals (N, K, 2) over the keypoint's median, which is at least `floor`; NaN for missing labels."""
    centred = residual - _median(np.where(labelled[..., None], residual, np.nan))
    length = np.where(labelled, np.linalg.norm(centred, axis=-1), np.nan)
    typical = _median(length)
    return np.asarray(length / np.maximum(typical, floor))
