"""Labels that are far from where they should be: by what a model that never saw them says, and by the other keypoints.

Without a trained model, a linear one is fitted in seconds: ridge regression from gradient histograms and a thumbnail to
keypoints, cross-validated so that no near-duplicate of an image tells about it. A keypoint's place given all others
is the conditional mean of a Gaussian over shapes. Both residuals are measured in robust units: multiples of the median
absolute deviation of that keypoint's.
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
"""Images from which on the linear model says anything."""
_RIDGE, _SHAPE_RIDGE = 0.00025, 1e-3
_WEIRD, _FLOOR = 8.0, 0.02
_MIRRORED, _PLAINLY, _LEAST_MIRRORED = 2.5, 2.0, 4
"""How many times the usual a mirrored shape may be off to fit, how many times as far it is as it stands, and points it needs."""


@dataclass(frozen=True)
class Suspicion:
    """How far each label is off: `units` (N, K), robust and at least 0, and `suggested` places (N, K, 2), pixels of the
    cache's images. Both NaN where nobody can tell."""

    units: NDArray[np.float64]
    suggested: NDArray[np.float64]

    def ranking(self) -> NDArray[np.int64]:
        """Samples, the most suspicious first."""
        return np.argsort(-np.nan_to_num(self.units, nan=-1).max(1), kind="stable")


def linear(
    features: NDArray[np.float32], points: NDArray[np.float32], labelled: NDArray[np.bool_], groups: NDArray[np.int64]
) -> Suspicion:
    """What a cross-validated linear model and the shapes say of points (N, K, 2); `groups` (N,) are never parted.

    Two rounds: what the first one finds wrong does not teach the second.
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
        trusted = labelled & (units < _WEIRD)
    return Suspicion(units, predicted)


def predicted(points: NDArray[np.float32], labelled: NDArray[np.bool_], found: NDArray[np.float64]) -> Suspicion:
    """What a trained model says, whose points are `found` (N, K, 2), NaN for samples that it was trained on."""
    return Suspicion(_robust(points - found, labelled & np.isfinite(found).all(-1), _floor(points, labelled)), found)


def mirrored(points: NDArray[np.floating], labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which samples (N,) have the shape of the others in a mirror, and plainly not as they are: seen from the other side.

    points (N, K, 2). No pair changes places: an animal in profile that faces the other way keeps its left and right.
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
    as_is, turned = off
    return np.asarray((count >= _LEAST_MIRRORED) & (turned <= _MIRRORED) & (as_is >= _PLAINLY * turned))


def _cross_validated(
    x: NDArray[np.float32], y: NDArray[np.float64], usable: NDArray[np.bool_], part: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Ridge regression of y (N, K, 2) on x (N, D), every fold predicted by the others."""
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
    """Where each keypoint (N, K, 2) is expected, given the others, under a Gaussian over the shapes that are `whole`."""
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


def median(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Over the first axis, NaN left out; 0 where there is nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns that hold nothing
        return np.asarray(np.nan_to_num(np.nanmedian(values, axis=0)))


def _floor(points: NDArray[np.float32], labelled: NDArray[np.bool_]) -> float:
    """What is usual at the least, in pixels: 2 % of the radius of a typical shape, so that no precision is asked beyond."""
    known = labelled[..., None]
    middle = np.where(known, points, 0).sum(1) / np.maximum(known.sum(1), 1)
    radius = np.sqrt(
        np.where(labelled, np.square(points - middle[:, None]).sum(-1), 0).sum(1) / labelled.sum(1).clip(1)
    )
    return max(0.1, _FLOOR * float(np.median(radius)))


def _filled(points: NDArray[np.float32], labelled: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Points with the mean of that keypoint's others where one has no label."""
    known = labelled[..., None]
    mean = np.where(known, points, 0).sum(0, dtype=np.float64) / np.maximum(known.sum(0), 1)
    return np.where(known, points, mean)


def _robust(residual: NDArray[np.floating], labelled: NDArray[np.bool_], floor: float) -> NDArray[np.float64]:
    """Lengths of residuals (N, K, 2) as multiples of what is usual for that keypoint, at least `floor`; NaN unlabelled."""
    centred = residual - median(np.where(labelled[..., None], residual, np.nan))
    length = np.where(labelled, np.linalg.norm(centred, axis=-1), np.nan)
    usual = median(length)
    return np.asarray(length / np.maximum(usual, floor))
