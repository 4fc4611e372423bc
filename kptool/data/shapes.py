"""Shapes whatever their place, turn and size: the mean shape of labelled points, and how far each sample is from it.

A shape is brought onto another by a similarity: moved, turned and scaled, never reflected, so that handedness counts.
Points are complex numbers x + iy here, and the fit is a weighted regression (see `kptool.base.geometry.fit_similarity`).
Labels may be missing, and some may be wrong: means are medians, and the start is the sample most others agree with.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex128]
_CANDIDATES, _ROUNDS, _MOST = 16, 12, 3000
_FLOOR = 0.02
_MISSING = complex(np.nan, np.nan)
LEAST_POINTS = 3
"""Points that a shape needs to have a handedness."""


def to_complex(points: NDArray[np.floating]) -> Complex:
    """Points (..., 2) as complex numbers (...)."""
    return np.asarray(points[..., 0] + 1j * points[..., 1], np.complex128)


def align(shapes: Complex, weights: NDArray[np.float64], mean: Complex) -> Complex:
    """Shapes (..., K) each moved, turned and scaled onto `mean` (K,), by least squares with `weights` (..., K) from 0.

    What has weight 0 is moved along; a shape without extent lands on the mean's middle.
    """
    total = np.maximum(weights.sum(-1, keepdims=True), 1e-300)
    z = np.where(weights > 0, shapes, 0)
    w = np.where(weights > 0, mean, 0)
    middle, target = (weights * z).sum(-1, keepdims=True) / total, (weights * w).sum(-1, keepdims=True) / total
    z, w = z - middle, w - target
    extent = np.maximum((weights * np.abs(z) ** 2).sum(-1, keepdims=True), 1e-300)
    factor = (weights * w * z.conj()).sum(-1, keepdims=True) / extent
    return np.asarray(factor * (shapes - middle) + target)


def mean_shape(points: NDArray[np.floating], labelled: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """What most shapes (N, K, 2) are like, (K, 2), of radius 1 about 0; NaN for a keypoint without labels, None where no
    sample has three points apart. Samples whose left and right are exchanged do not matter while they are few."""
    z, known = _some(to_complex(points), labelled)
    if not len(z):
        return None
    mean = _normal(_start(z, known))
    for _ in range(_ROUNDS):
        moved = align(z, (known & np.isfinite(mean)).astype(float), np.nan_to_num(mean))
        enough = (known & np.isfinite(mean)).sum(1) >= LEAST_POINTS
        mean = _normal(_median(np.where(known & enough[:, None], moved, _MISSING)))
    return np.stack([mean.real, mean.imag], axis=-1)


def typical_distance(
    points: NDArray[np.floating], labelled: NDArray[np.bool_], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far each keypoint usually is from `mean` (K, 2) once shapes lie on it: medians (K,), at least 2 % of the radius."""
    z, known = _some(to_complex(points), labelled)
    m = to_complex(mean)
    moved = align(z, (known & np.isfinite(m)).astype(float), np.nan_to_num(m))
    far = np.where(known, np.abs(moved - m), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns that hold nothing
        return np.asarray(np.fmax(np.nanmedian(far, axis=0), _FLOOR))


def distances(
    points: NDArray[np.floating], labelled: NDArray[np.bool_], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far shapes (N, K, 2) lie from `mean` once they are moved, turned and scaled onto it, root mean square in its
    units, (N,); NaN for those of less than three labelled points."""
    z, m = to_complex(points), to_complex(mean)
    known = labelled & np.isfinite(m)
    moved = align(z, known.astype(float), np.nan_to_num(m))
    squares = np.where(known, np.abs(moved - np.nan_to_num(m)) ** 2, 0).sum(1)
    count = known.sum(1)
    return np.where(count >= LEAST_POINTS, np.sqrt(squares / np.maximum(count, 1)), np.nan)


def _some(z: Complex, labelled: NDArray[np.bool_]) -> tuple[Complex, NDArray[np.bool_]]:
    """At most some thousands of the samples, evenly, that have three labelled points that do not coincide."""
    middle = np.where(labelled, z, 0).sum(1) / np.maximum(labelled.sum(1), 1)
    extent = np.where(labelled, np.abs(z - middle[:, None]), 0).max(1, initial=0)
    usable = np.flatnonzero((labelled.sum(1) >= LEAST_POINTS) & (extent > 1e-6))
    usable = usable[:: max(1, -(-len(usable) // _MOST))]
    return z[usable], labelled[usable]


def _start(z: Complex, known: NDArray[np.bool_]) -> Complex:
    """Of the samples with the most labels, the one that the others are nearest to in the median."""
    most = np.argsort(-known.sum(1), kind="stable")
    most = most[known[most].sum(1) >= known.sum(1).max() - 1]
    tried = most[:: max(1, len(most) // _CANDIDATES)][:_CANDIDATES]
    best, mean = np.inf, z[0]
    for candidate in tried:
        both = known & known[candidate]
        shape = _normal(np.where(known[candidate], z[candidate], _MISSING))
        moved = align(z, both.astype(float), np.nan_to_num(shape))
        far = np.where(both, np.abs(moved - np.nan_to_num(shape)) ** 2, 0).sum(1) / np.maximum(both.sum(1), 1)
        enough = both.sum(1) >= LEAST_POINTS
        score = float(np.median(far[enough]))
        if score < best:
            best, mean = score, shape
    return np.asarray(mean)


def _normal(shape: Complex) -> Complex:
    """The shape about 0 and of radius 1; NaN stays."""
    centred = shape - np.nanmean(shape)
    return np.asarray(centred / max(float(np.sqrt(np.nanmean(np.abs(centred) ** 2))), 1e-300))


def _median(shapes: Complex) -> Complex:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of keypoints that nobody labelled
        return np.asarray(np.nanmedian(shapes.real, axis=0) + 1j * np.nanmedian(shapes.imag, axis=0))
