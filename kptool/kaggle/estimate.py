"""An estimate of a submission's score on Kaggle's leaderboard, from a cache's validation images.

The score is the root mean square error over the rows of the lookup table, so each coordinate's mean squared error on the
validation images is weighted by the number of rows that ask for it. Images that ask for a few keypoints and images that
ask for all are treated separately, each kind with its model; in the competition the two come from different sources, so
the former are measured on partly labelled images where the split has any, the latter on completely labelled ones. The
interval is a percentile bootstrap over groups, because images of one person are not independent; for simulated people of
varying difficulty its coverage was 90 % with 17 groups and 93 % with 60.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import apply_affine
from kptool.cache.store import Cache
from kptool.evaluation.evaluation import read_truth
from kptool.kaggle.submit import FLIPPED, asks_few, features, locate, read_lookup
from kptool.network.keypoint_model import Inference, KeypointModel

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RESAMPLES = 2000
_BLOCK = 100
"""Resamples drawn at once, which bounds the memory."""


@dataclass(frozen=True)
class Estimate:
    """rmse: in source pixels; low, high: its 95 % interval, None with a single group.

    images: the number of validation images measured; groups: the number of their groups, an image without one counting as
    its own. unlabelled: keypoints that the table asks for and that have no label in the split; they are left out.
    """

    rmse: float
    low: float | None
    high: float | None
    images: int
    groups: int
    unlabelled: tuple[str, ...]


def estimate(
    lookup: Path,
    cache: Cache,
    model: KeypointModel,
    few: KeypointModel | None = None,
    *,
    inference: Inference = FLIPPED,
    seed: int = 0,
) -> Estimate:
    """Estimate the leaderboard's RMSE for `model`, and `few` for the images that `kptool.kaggle.submit.asks_few` selects.

    Raises DataError where the table asks for keypoints that a model lacks, or the cache has no labels of any of them.
    """
    data, asked = _Validation.read(cache), read_lookup(lookup)
    rare, whole = asks_few(asked, model, few), np.logical_and.reduce(data.labelled, axis=1)
    kinds = ((model, ~rare, whole), (few or model, rare, ~whole))
    which = [features(lookup, asked[rows], served) for served, rows, _ in kinds]
    found = {served: data.predict(served, inference) for served, _, _ in kinds}
    parts = [
        data.errors(served.config.names, found[served], columns, alike)
        for (served, _, alike), columns in zip(kinds, which, strict=True)
    ]
    squares, usable, weights = (
        np.concatenate([getattr(part, name) for part in parts], -1) for name in ("squares", "usable", "weights")
    )
    used = usable.any(1)
    if not used.any():
        raise DataError(f"no keypoint that {lookup} asks for is labelled in the validation split of {cache.path}")
    sums = Sums.by_group(data.groups[used], squares[used], usable[used], weights)
    rmse = float(sums.rmse(np.ones((1, len(sums.numbers))))[0])
    low, high = sums.interval(seed)
    unlabelled = dict.fromkeys(name for part in parts for name in part.unlabelled)
    return Estimate(rmse, low, high, int(used.sum()), len(sums.numbers), tuple(unlabelled))


@dataclass(frozen=True)
class Sums:
    """Sums over the images of each of G groups, for C keypoints. squares (G, C): squared errors of x and y, each weighted by
    the number of rows that ask for it; numbers (G, C): images; weights (C,): rows that ask for the keypoint."""

    squares: Floats
    numbers: Floats
    weights: Floats

    @classmethod
    def by_group(cls, groups: NDArray[np.int64], squares: Floats, usable: Flags, weights: Floats) -> Sums:
        """From the `squares` of images (N, C) where `usable` (N, C), and their `groups` (N,), -1 being a group of its own."""
        keys, group = np.unique(np.where(groups >= 0, groups, -1 - np.arange(len(groups))), return_inverse=True)
        summed, numbers = np.zeros((len(keys), len(weights))), np.zeros((len(keys), len(weights)))
        np.add.at(summed, group, np.where(usable, squares, 0))
        np.add.at(numbers, group, usable)
        return cls(summed, numbers, weights)

    def rmse(self, times: NDArray[np.int64] | Floats) -> Floats:
        """The RMSE, at most (R,), of each resample, in which group g occurs `times` (R, G).

        A keypoint without images in a resample is left out of it, and a resample without any image is left out entirely.
        """
        numbers = times @ self.numbers
        weight = np.where(numbers > 0, self.weights, 0).sum(1)
        total = ((times @ self.squares) / numbers.clip(1)).sum(1)
        return np.asarray(np.sqrt(total[weight > 0] / weight[weight > 0]))

    def interval(self, seed: int) -> tuple[float, float] | tuple[None, None]:
        """The 95 % percentile interval of the resamples; (None, None) with a single group, whose resamples are all equal."""
        groups = len(self.numbers)
        if groups < 2:
            return None, None
        rng = np.random.default_rng(seed)
        drawn = (rng.multinomial(groups, np.full(groups, 1 / groups), _BLOCK) for _ in range(RESAMPLES // _BLOCK))
        low, high = np.percentile(np.concatenate([self.rmse(times) for times in drawn]), [2.5, 97.5])
        return float(low), float(high)


@dataclass(frozen=True)
class _Errors:
    """Errors of C keypoints on N images. squares (N, C): squared errors of x and y, each weighted by the number of rows that
    ask for it; usable (N, C): which of them count; weights (C,): rows that ask for the keypoint; unlabelled: keypoints
    that are asked for and have no label."""

    squares: Floats
    usable: Flags
    weights: Floats
    unlabelled: list[str]


@dataclass(frozen=True)
class _Validation:
    """Validation images (N, H, W) or (N, H, W, 3), maps back (N, 2, 3) to source pixels, the true points (N, K, 2) there,
    which of them are labelled (N, K), and groups (N,)."""

    names: tuple[str, ...]
    pictures: NDArray[np.uint8]
    back: Floats
    truth: NDArray[np.float32]
    labelled: Flags
    groups: NDArray[np.int64]

    @classmethod
    def read(cls, cache: Cache) -> _Validation:
        """The validation images of a cache. Raises DataError where it has none."""
        index = cache.index("val")
        if not len(index):
            raise DataError(f"{cache.path} has no validation image to estimate with; extract again with --val 0.1")
        pictures, groups, truth = cache.read("images", index), cache.read("group", index), read_truth(cache, index)
        pictures = pictures if pictures.ndim == 3 else np.moveaxis(pictures, 1, -1)
        points = apply_affine(truth.back, truth.points).astype(np.float32)
        return cls(cache.info.names, pictures, truth.back, points, truth.labelled, groups)

    def predict(self, model: KeypointModel, inference: Inference) -> NDArray[np.float32]:
        """Points (N, K, 2) in source pixels, predicted as for a submission."""
        return apply_affine(self.back, locate(model, self.pictures, inference)).astype(np.float32)

    def errors(
        self, names: tuple[str, ...], points: NDArray[np.float32], asked: NDArray[np.int64], alike: Flags
    ) -> _Errors:
        """Errors of a model's `points` (N, C, 2), whose keypoints are `names`; `asked` (n, 2) is keypoint and axis of each row.

        They are measured on the images `alike` (N,), or on all images for a keypoint without labels in those.
        """
        times = np.zeros((len(names), 2))
        np.add.at(times, tuple(asked.T), 1)
        column = np.array([self.names.index(name) if name in self.names else -1 for name in names])
        labelled = self.labelled[:, column] & (column >= 0) & times.any(1)
        matching = labelled & alike[:, None]
        usable = np.where(matching.any(0), matching, labelled)
        squares = ((points - self.truth[:, column]).astype(np.float64) ** 2 * times).sum(-1)
        missing = [names[k] for k in np.flatnonzero(times.any(1) & ~usable.any(0))]
        return _Errors(squares, usable, times.sum(1), missing)
