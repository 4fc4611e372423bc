"""Accuracy metrics of keypoint predictions: RMSE, NME, AUC, failure rate and PCK.

NumPy only. Every metric counts labelled keypoints alone (visibility above 0); a keypoint without labels has no RMSE. A
prediction that is not finite is infinitely far away, and `measure` refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base import face68
from kptool.base.errors import DataError
from kptool.base.geometry import Size, apply_affine, invert_affine

_OUTER_EYES = ("left_eye_outer_corner", "right_eye_outer_corner")
FAILURE = 0.08
"""The NME above which an image is a failure, and up to which the AUC is taken."""
PCK_LEVELS = (0.05, 0.1, 0.2)
"""Distances, as shares of the normaliser, within which PCK counts a keypoint as correct."""


@dataclass(frozen=True)
class GroundTruth:
    """The labels of N images: `points` (N, K, 2) in their pixels, `visibility` uint8 (N, K), and `affines` (N, 2, 3) that
    map source pixels to theirs."""

    points: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    affines: NDArray[np.float64]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which keypoints have a label, (N, K)."""
        return self.visibility > 0

    @property
    def back(self) -> NDArray[np.float64]:
        """The maps (N, 2, 3) from the images' pixels to source pixels."""
        return invert_affine(self.affines)


@dataclass(frozen=True)
class Metrics:
    """rmse: pixels, over x and y of every labelled keypoint, as on Kaggle's leaderboard. nme: an image's mean distance
    divided by its normaliser, averaged over images. auc: area under the cumulative distribution of the images' NME from
    0 to 0.08, divided by 0.08. failure_rate: share of images with an NME above 0.08. pck: by level, the share of
    keypoints within that share of the normaliser. per_keypoint: RMSE by name, None without a label. images: the number
    with a label. normaliser: its name."""

    rmse: float
    nme: float
    auc: float
    failure_rate: float
    pck: dict[str, float]
    per_keypoint: dict[str, float | None]
    images: int
    normaliser: str

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values for JSON."""
        return asdict(self)


def rmse(errors: NDArray[np.floating[Any]], labelled: NDArray[np.bool_]) -> float:
    """Root mean square over x and y of `errors` (N, K, 2) where `labelled` (N, K); NaN where nothing is labelled."""
    chosen = errors[labelled]
    return float(np.sqrt(np.mean(np.square(chosen, dtype=np.float64)))) if chosen.size else math.nan


def distances(predicted: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Distances (...) of points (..., 2) from the truth; infinite where a point is not finite."""
    apart = np.linalg.norm(predicted - truth, axis=-1)
    return np.where(np.isfinite(predicted).all(-1), apart, np.inf)


def image_nme(
    distances: NDArray[np.floating[Any]], labelled: NDArray[np.bool_], scale: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """The NME (N,) of each image: mean of `distances` (N, K) over `labelled` (N, K), divided by `scale` (N,); NaN for an
    image without a label."""
    total = np.where(labelled, distances, 0).sum(1, dtype=np.float64)
    count = labelled.sum(1)
    return np.where(count > 0, total / count.clip(1) / scale, np.nan)


def normaliser(
    points: NDArray[np.floating[Any]],
    labelled: NDArray[np.bool_],
    names: Sequence[str],
    diagonal: NDArray[np.floating[Any]] | float = 1.0,
) -> tuple[NDArray[np.float64], str]:
    """The length (N,) that NME divides by, and its name.

    It is the distance between the outer eye corners where both are labelled and at least one pixel apart; otherwise the
    geometric mean of width and height of the labelled keypoints' bounding box, which takes three keypoints and an area of
    one pixel; otherwise the image's `diagonal` (N,), in the pixels of `points`.
    """
    low = np.where(labelled[..., None], points, np.inf).min(1)
    high = np.where(labelled[..., None], points, -np.inf).max(1)
    sides = np.where(labelled.any(1, keepdims=True), high - low, 0.0)
    area = sides.prod(1, dtype=np.float64)
    boxed = (labelled.sum(1) > 2) & (area >= 1.0)
    scale = np.where(boxed, np.sqrt(area), diagonal)
    corners = _outer_eye_corners(names)
    if corners is None:
        return scale, "bounding box" if len(names) > 2 else "image diagonal"
    a, b = corners
    between = np.linalg.norm(points[:, a] - points[:, b], axis=1)
    usable = labelled[:, a] & labelled[:, b] & (between >= 1.0)
    return np.where(usable, between, scale), "outer eye corners"


def diagonals(size: Size, back: NDArray[np.float64]) -> NDArray[np.float64]:
    """The diagonals (N,) of images of `size` in source pixels, to which `back` (N, 2, 3) maps."""
    return np.asarray(np.linalg.norm(back[:, :, :2] @ np.array(size[::-1], np.float64), axis=-1))


def _outer_eye_corners(names: Sequence[str]) -> tuple[int, int] | None:
    left, right = _OUTER_EYES
    if {left, right} <= set(names):
        return list(names).index(left), list(names).index(right)
    return (face68.PARTS[left][0], face68.PARTS[right][0]) if face68.is_face68(names) else None


def cumulative_errors(
    nme: NDArray[np.float64], steps: int = 200, *, limit: float = FAILURE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds from 0 to `limit`, and the share of images at or below each: the CED curve. NaN is left out."""
    thresholds = np.linspace(0.0, limit, steps + 1)
    known = np.sort(nme[~np.isnan(nme)])
    return thresholds, np.searchsorted(known, thresholds, side="right") / max(len(known), 1)


def auc(nme: NDArray[np.float64]) -> float:
    """Area under the CED curve up to 0.08, divided by 0.08, computed exactly as mean(max(0, 1 - nme / 0.08))."""
    known = nme[~np.isnan(nme)]
    return float(np.mean((1.0 - known / FAILURE).clip(0.0))) if len(known) else 0.0


def measure(
    predicted: NDArray[np.floating[Any]],
    truth: NDArray[np.floating[Any]],
    visibility: NDArray[np.uint8],
    names: Sequence[str],
    diagonal: NDArray[np.floating[Any]] | float = 1.0,
) -> Metrics:
    """Compare points (N, K, 2), both in the pixels in which errors are reported; `diagonal` (N,) as in `normaliser`.

    Raises DataError where shapes differ, nothing is labelled, or the prediction of a labelled keypoint is not finite.
    """
    if predicted.shape != truth.shape or visibility.shape != truth.shape[:2]:
        raise DataError(
            f"predictions {predicted.shape}, truth {truth.shape} and visibility {visibility.shape} do not belong together"
        )
    some = (visibility > 0).any(1)
    if not some.any():
        raise DataError("no image has a labelled keypoint, so there is nothing to measure against")
    labelled = (visibility > 0)[some]
    apart = distances(predicted[some], truth[some])
    _require_finite(apart, labelled, names)
    errors = np.where(labelled[..., None], (predicted - truth)[some], 0)
    spans = np.broadcast_to(diagonal, some.shape)[some]
    scale, label = normaliser(truth[some], labelled, names, spans)
    nme = image_nme(apart, labelled, scale)
    relative = (apart / scale[:, None])[labelled]
    return Metrics(
        rmse=rmse(errors, labelled),
        nme=float(nme.mean()),
        auc=auc(nme),
        failure_rate=float((nme > FAILURE).mean()),
        pck={f"{level:g}": float((relative <= level).mean()) for level in PCK_LEVELS},
        per_keypoint={
            name: rmse(errors[:, k], labelled[:, k]) if labelled[:, k].any() else None for k, name in enumerate(names)
        },
        images=int(some.sum()),
        normaliser=label,
    )


def _require_finite(apart: NDArray[np.floating[Any]], labelled: NDArray[np.bool_], names: Sequence[str]) -> None:
    """Raise DataError, naming the first, where the prediction of a labelled keypoint is not finite."""
    wrong = np.argwhere(labelled & ~np.isfinite(apart))
    if len(wrong):
        image, keypoint = wrong[0]
        raise DataError(
            f"{len(wrong)} of {int(labelled.sum())} predictions are not finite numbers (the first: {names[keypoint]} of"
            f" image {image}), so there is no error to report; train the model again"
        )


def mean_shape(points: NDArray[np.floating[Any]], visibility: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean position (K, 2) of each keypoint of labels (N, K, 2), the baseline that any model must beat; NaN without a
    label."""
    labelled = (visibility > 0)[..., None]
    total = np.where(labelled, points, 0).sum(0, dtype=np.float64)
    count = labelled.sum(0)
    return np.where(count > 0, total / count.clip(1), np.nan)


def measure_mean_shape(
    shape: NDArray[np.float64],
    truth: GroundTruth,
    names: Sequence[str],
    size: Size,
) -> Metrics | None:
    """The metrics, in source pixels, of a `mean_shape` (K, 2) as the prediction for every image, of `size`.

    Keypoints that are NaN in it are left out; None where no labelled keypoint is left.
    """
    known = np.asarray(np.isfinite(shape).all(axis=1))
    seen = np.where(known, truth.visibility, 0).astype(np.uint8)
    if not seen.any():
        return None
    back = truth.back
    guess = apply_affine(back, np.broadcast_to(np.where(known[:, None], shape, 0), truth.points.shape))
    return measure(guess, apply_affine(back, truth.points), seen, names, diagonals(size, back))
