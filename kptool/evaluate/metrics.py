"""How good predictions are, in the units people compare: the numbers of `evaluate`, the reports and the tables.

NumPy only. Every metric counts labelled keypoints alone (visibility above 0); one that nobody labelled has no number.
A prediction that is no finite number is infinitely far away, and `measure` makes no figures of such: it refuses them.
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
from kptool.base.geometry import Size, apply_affine

_OUTER_EYES = ("left_eye_outer_corner", "right_eye_outer_corner")
FAILURE = 0.08
PCK_LEVELS = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Metrics:
    """rmse: pixels, over x and y of every labelled keypoint, as Kaggle's leaderboard has it. nme: mean distance over
    the normaliser, averaged image by image. auc: area under the cumulative curve of the images' NME up to 0.08, over
    0.08. failure_rate: share of images with an NME above 0.08. pck: share of keypoints within that share of the
    normaliser. per_keypoint: RMSE by name, None where no image has a label of it. images: how many had a label.
    normaliser: what NME divides by."""

    rmse: float
    nme: float
    auc: float
    failure_rate: float
    pck: dict[str, float]
    per_keypoint: dict[str, float | None]
    images: int
    normaliser: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def rmse(errors: NDArray[np.floating[Any]], labelled: NDArray[np.bool_]) -> float:
    """Root mean square over x and y of `errors` (N, K, 2) where `labelled` (N, K); NaN where nothing is."""
    chosen = errors[labelled]
    return float(np.sqrt(np.mean(np.square(chosen, dtype=np.float64)))) if chosen.size else math.nan


def distances(predicted: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """How far points (..., 2) are from the truth, (...); infinitely far where they are no finite numbers."""
    apart = np.linalg.norm(predicted - truth, axis=-1)
    return np.where(np.isfinite(predicted).all(-1), apart, np.inf)


def image_nme(
    distances: NDArray[np.floating[Any]], labelled: NDArray[np.bool_], scale: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """The NME of each image, (N,): mean `distances` (N, K) over `labelled`, divided by `scale` (N,).

    NaN for an image without a label, of which nothing is known.
    """
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

    The distance of the outer eye corners, where they exist and are labelled; for other images, and other skeletons,
    the geometric mean of the sides of the box around the labelled keypoints; where fewer than three span none, the
    `diagonal` (N,) of the image, in the pixels that points are in.
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
    """The diagonals (N,) of images of `size` in the pixels of their sources; `back` (N, 2, 3) maps to these."""
    return np.asarray(np.linalg.norm(back[:, :, :2] @ np.array(size[::-1], np.float64), axis=-1))


def _outer_eye_corners(names: Sequence[str]) -> tuple[int, int] | None:
    left, right = _OUTER_EYES
    if {left, right} <= set(names):
        return list(names).index(left), list(names).index(right)
    return (face68.PARTS[left][0], face68.PARTS[right][0]) if face68.is_face68(names) else None


def cumulative_errors(nme: NDArray[np.float64], steps: int = 200) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Thresholds 0 to 0.08 and the share of images at or below each: the CED curve. NaN, of no label, does not count."""
    thresholds = np.linspace(0.0, FAILURE, steps + 1)
    known = np.sort(nme[~np.isnan(nme)])
    return thresholds, np.searchsorted(known, thresholds, side="right") / max(len(known), 1)


def auc(nme: NDArray[np.float64]) -> float:
    """Area under the cumulative curve up to 0.08, relative to a perfect 1: exact, as the mean of what is left over."""
    known = nme[~np.isnan(nme)]
    return float(np.mean((1.0 - known / FAILURE).clip(0.0))) if len(known) else 0.0


def measure(
    predicted: NDArray[np.floating[Any]],
    truth: NDArray[np.floating[Any]],
    visibility: NDArray[np.uint8],
    names: Sequence[str],
    diagonal: NDArray[np.floating[Any]] | float = 1.0,
) -> Metrics:
    """Compare points (N, K, 2), both in the pixels that errors are to be reported in; `diagonal` (N,) as in `normaliser`.

    Raises DataError where shapes differ, nothing is labelled, or a prediction of something labelled is no finite number.
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
    """Raise DataError naming the first labelled keypoint whose prediction is no finite number."""
    wrong = np.argwhere(labelled & ~np.isfinite(apart))
    if len(wrong):
        image, keypoint = wrong[0]
        raise DataError(
            f"{len(wrong)} of {int(labelled.sum())} predictions are no finite numbers (the first: {names[keypoint]} of"
            f" image {image}), so no error can be told; train the model again"
        )


def mean_shape(points: NDArray[np.floating[Any]], visibility: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean position (K, 2) of each keypoint: the baseline that any model must beat. NaN where it has no label."""
    labelled = (visibility > 0)[..., None]
    total = np.where(labelled, points, 0).sum(0, dtype=np.float64)
    count = labelled.sum(0)
    return np.where(count > 0, total / count.clip(1), np.nan)


def measure_mean_shape(
    shape: NDArray[np.float64],
    truth: NDArray[np.float32],
    visibility: NDArray[np.uint8],
    names: Sequence[str],
    size: Size,
    back: NDArray[np.float64],
) -> Metrics | None:
    """What a `mean_shape` (K, 2) scores as the prediction for images of `size`; `back` maps them to source pixels.

    Keypoints without a place in it are left out; None where nothing is left that is labelled.
    """
    known = np.asarray(np.isfinite(shape).all(axis=1))
    seen = np.where(known, visibility, 0).astype(np.uint8)
    if not seen.any():
        return None
    guess = apply_affine(back, np.broadcast_to(np.where(known[:, None], shape, 0), truth.shape))
    return measure(guess, apply_affine(back, truth), seen, names, diagonals(size, back))
