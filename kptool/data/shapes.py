"""Robust Procrustes analysis: the mean shape of labelled keypoints, and the distance of each sample from it.

Shapes are aligned by similarities: translation, rotation and scale, but no reflection, so that handedness counts. Points
are complex numbers x + iy, and the fit is a weighted regression (see `kptool.base.geometry.fit_similarity`). Labels may be
missing or wrong, so means are medians, and the iteration starts from the sample that agrees best with the others.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import Size

Complex = NDArray[np.complex128]
_CANDIDATES, _ROUNDS, _MOST = 16, 12, 3000
"""Samples tried as the start, iterations of the mean, and samples used at most."""
_FLOOR = 0.02
"""The least typical distance, relative to the mean shape's radius."""
_MISSING = complex(np.nan, np.nan)
_LEAST_WHOLE, _MOST_CROPS, _ASTRAY = 8, 0.9, 0.03
"""Number and share of crops with all keypoints that are needed to say whether crops follow them, and how far most of these
may be off, in sides."""
LEAST_POINTS = 3
"""Points needed to align a shape and tell it from its mirror image."""


def to_complex(points: NDArray[np.floating]) -> Complex:
    """Points (..., 2) as complex numbers (...)."""
    return np.asarray(points[..., 0] + 1j * points[..., 1], np.complex128)


def align(shapes: Complex, weights: NDArray[np.float64], mean: Complex) -> Complex:
    """Shapes (..., K), each aligned with `mean` (K,) by the similarity of least squares with `weights` (..., K) >= 0.

    Points of weight 0 are transformed, too. A shape without extent ends up at the mean's centroid.
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
    """The robust mean (K, 2) of shapes (N, K, 2), with centroid 0 and root-mean-square radius 1.

    labelled: bool (N, K). NaN for keypoints without labels; None if no sample has three distinct labelled points. A few
    samples with left and right exchanged do not affect it.
    """
    z, known = _usable(to_complex(points), labelled)
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
    """The median distance (K,) of each keypoint from `mean` (K, 2) after alignment, in its units, at least 0.02."""
    z, known = _usable(to_complex(points), labelled)
    m = to_complex(mean)
    moved = align(z, (known & np.isfinite(m)).astype(float), np.nan_to_num(m))
    far = np.where(known, np.abs(moved - m), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # about columns of NaN only
        return np.asarray(np.fmax(np.nanmedian(far, axis=0), _FLOOR))


def distances(
    points: NDArray[np.floating], labelled: NDArray[np.bool_], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The root-mean-square distance (N,) of shapes (N, K, 2) from `mean` (K, 2) after alignment, in the mean's units.

    labelled: bool (N, K). NaN for shapes with fewer than three labelled points.
    """
    z, m = to_complex(points), to_complex(mean)
    known = labelled & np.isfinite(m)
    moved = align(z, known.astype(float), np.nan_to_num(m))
    squares = np.where(known, np.abs(moved - np.nan_to_num(m)) ** 2, 0).sum(1)
    count = known.sum(1)
    return np.where(count >= LEAST_POINTS, np.sqrt(squares / np.maximum(count, 1)), np.nan)


def turns(points: NDArray[np.floating], labelled: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """How far shapes (N, K, 2) are turned from their usual angle, (M,) for those M that can be aligned, in degrees, 0..180.

    labelled: bool (N, K). A shape that its mirror image fits better is compared as that: an animal from the side faces left
    or right without being turned. None without a mean shape.
    """
    mean = mean_shape(points, labelled)
    if mean is None:
        return None
    z, known = _usable(to_complex(points), labelled)
    m = to_complex(mean)
    weights = (known & np.isfinite(m)).astype(float)
    z, m = np.where(known, z, 0), np.nan_to_num(m)
    tried = [(each, align(each, weights, m)) for each in (z, -z.conj())]
    far = [np.sqrt((weights * np.abs(moved - m) ** 2).sum(1)) for _, moved in tried]
    factors = [np.sum(weights * _about(moved, weights) * _about(each, weights).conj(), 1) for each, moved in tried]
    chosen = np.where(far[1] < far[0], factors[1], factors[0])
    unit = chosen / np.maximum(np.abs(chosen), 1e-300)
    return np.asarray(np.degrees(np.abs(np.angle(unit * np.conj(unit.sum())))))


def fill(points: NDArray[np.floating], labelled: NDArray[np.bool_], size: Size) -> float | None:
    """The share of crops of `size` that the box of their keypoints (N, K, 2) takes, of the side that it fills more; None where
    the crops were not cut out about that box, or keypoints are often missing.

    labelled: bool (N, K). Crops follow their keypoints where the boxes of nine in ten are within 3 % of a crop's side of the
    same place and size. As many must have all keypoints labelled.
    """
    whole = points[labelled.all(1)]
    if len(whole) < max(_LEAST_WHOLE, _MOST_CROPS * len(points)) or points.shape[1] < 2:
        return None
    low, high = whole.min(1), whole.max(1)
    sides = np.array([size[1], size[0]], np.float64)
    shares = ((high - low) / sides).max(1)
    off = (low + high - (sides - 1)) / (2 * sides)
    usual = float(np.median(shares))
    astray = np.maximum(np.abs(off).max(1), np.abs(shares - usual))
    return usual if np.quantile(astray, _MOST_CROPS) <= _ASTRAY and usual > 0 else None


def spacing(points: NDArray[np.floating], labelled: NDArray[np.bool_]) -> float | None:
    """Median distance from a keypoint of `points` (N, K, 2), `labelled` (N, K), to the nearest in its image; None without one."""
    nearest = [np.empty(0)]
    for known, where in zip(labelled, points, strict=True):
        if known.sum() > 1:
            z = where[known] @ np.array([1, 1j])
            apart = np.abs(z[:, None] - z)
            np.fill_diagonal(apart, np.inf)
            nearest.append(apart.min(1))
    every = np.concatenate(nearest)
    return float(np.median(every)) if len(every) else None


def _about(shapes: Complex, weights: NDArray[np.float64]) -> Complex:
    """Shapes (N, K) about their weighted middles."""
    total = np.maximum(weights.sum(1, keepdims=True), 1e-300)
    return np.asarray(shapes - (weights * shapes).sum(1, keepdims=True) / total)


def _usable(z: Complex, labelled: NDArray[np.bool_]) -> tuple[Complex, NDArray[np.bool_]]:
    """Evenly spaced samples, at most `_MOST`, that have three labelled points and some extent."""
    middle = np.where(labelled, z, 0).sum(1) / np.maximum(labelled.sum(1), 1)
    extent = np.where(labelled, np.abs(z - middle[:, None]), 0).max(1, initial=0)
    usable = np.flatnonzero((labelled.sum(1) >= LEAST_POINTS) & (extent > 1e-6))
    usable = usable[:: max(1, -(-len(usable) // _MOST))]
    return z[usable], labelled[usable]


def _start(z: Complex, known: NDArray[np.bool_]) -> Complex:
    """Of the samples with the most labels, the one with the smallest median distance to the others."""
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
    """The shape moved to centroid 0 and scaled to radius 1; NaN stays."""
    centred = shape - np.nanmean(shape)
    return np.asarray(centred / max(float(np.sqrt(np.nanmean(np.abs(centred) ** 2))), 1e-300))


def _median(shapes: Complex) -> Complex:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # about keypoints without labels
        return np.asarray(np.nanmedian(shapes.real, axis=0) + 1j * np.nanmedian(shapes.imag, axis=0))
