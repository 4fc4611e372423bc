"""What a submission would score on Kaggle's leaderboard, from a cache's validation images.

The leaderboard is the root mean square error over the rows of the lookup table. So a coordinate's mean square error on
the validation images counts as often as the table asks for it. Pictures that ask for a few keypoints and pictures that
ask for all are counted apart, each with the model that serves them; in the competition both kinds come from sources of
their own, so the few are measured on partly labelled images where the split holds any, the rest on complete ones. The
interval is a percentile bootstrap over groups, because images of one person are no independent evidence; with simulated
people of differing difficulty it held the truth 90 times in 100 for 17 groups, and 93 times for 60.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import apply_affine, invert_affine
from kptool.cache.store import Cache
from kptool.kaggle.submit import asks_few, features, locate, read_lookup
from kptool.network.keypoint_model import KeypointModel

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

RESAMPLES = 2000
_BLOCK = 100
"""Resamples drawn at a time, which bounds the memory."""


@dataclass(frozen=True)
class Estimate:
    """rmse: pixels of the source's images; low, high: its 95 % interval, None where there is one group only.

    images: validation images that were measured; groups: how many groups they are (an image without one is its own).
    unlabelled: keypoints that the table asks for and the split has no label of; the estimate leaves them out.
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
    flip: bool = True,
    seed: int = 0,
) -> Estimate:
    """The leaderboard's RMSE for `model`, and `few` where `kptool.kaggle.submit.asks_few` says so.

    Raises DataError where the table asks for what a model lacks, or the cache has nothing to measure them with.
    """
    data, asked = _Validation.read(cache), read_lookup(lookup)
    rare, whole = asks_few(asked, model, few), np.logical_and.reduce(data.labelled, axis=1)
    kinds = ((model, ~rare, whole), (few or model, rare, ~whole))
    which = [features(lookup, asked[rows], served) for served, rows, _ in kinds]
    found = {served: data.find(served, flip) for served, _, _ in kinds}
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
    """By group, of each keypoint: squared errors over x and y, each times how often it is asked for, and the number of
    images, (G, C); what a keypoint weighs in all, (C,)."""

    squares: Floats
    numbers: Floats
    weights: Floats

    @classmethod
    def by_group(cls, groups: NDArray[np.int64], squares: Floats, usable: Flags, weights: Floats) -> Sums:
        """From images (N, C) and their `groups` (N,), in which -1 stands for a group of its own."""
        keys, group = np.unique(np.where(groups >= 0, groups, -1 - np.arange(len(groups))), return_inverse=True)
        summed, numbers = np.zeros((len(keys), len(weights))), np.zeros((len(keys), len(weights)))
        np.add.at(summed, group, np.where(usable, squares, 0))
        np.add.at(numbers, group, usable)
        return cls(summed, numbers, weights)

    def rmse(self, times: NDArray[np.int64] | Floats) -> Floats:
        """The RMSE of each resample, at most (R,): group g is in it `times` (R, G) over.

        A keypoint that a resample has no image of is left out of it, and so is a resample that has none at all.
        """
        numbers = times @ self.numbers
        weight = np.where(numbers > 0, self.weights, 0).sum(1)
        total = ((times @ self.squares) / numbers.clip(1)).sum(1)
        return np.asarray(np.sqrt(total[weight > 0] / weight[weight > 0]))

    def interval(self, seed: int) -> tuple[float, float] | tuple[None, None]:
        """Where 95 % of the resamples lie; nowhere with a single group, of which every resample is the same."""
        groups = len(self.numbers)
        if groups < 2:
            return None, None
        rng = np.random.default_rng(seed)
        drawn = (rng.multinomial(groups, np.full(groups, 1 / groups), _BLOCK) for _ in range(RESAMPLES // _BLOCK))
        low, high = np.percentile(np.concatenate([self.rmse(times) for times in drawn]), [2.5, 97.5])
        return float(low), float(high)


@dataclass(frozen=True)
class _Errors:
    """Of C keypoints: squared errors over x and y (N, C), each times how often it is asked for; which of them count;
    what a keypoint weighs in all, (C,); and those that are asked for without a label to be had."""

    squares: Floats
    usable: Flags
    weights: Floats
    unlabelled: list[str]


@dataclass(frozen=True)
class _Validation:
    """Validation images (N, H, W) or (N, H, W, 3), maps back to source pixels, truth (N, K, 2) there, labels, groups."""

    names: tuple[str, ...]
    pictures: NDArray[np.uint8]
    back: Floats
    truth: NDArray[np.float32]
    labelled: Flags
    groups: NDArray[np.int64]

    @classmethod
    def read(cls, cache: Cache) -> _Validation:
        """Raises DataError where the cache has none."""
        index = cache.index("val")
        if not len(index):
            raise DataError(f"{cache.path} has no validation image to estimate with; extract again with --val 0.1")
        parts = ("images", "keypoints", "visibility", "affine", "group")
        pictures, points, visibility, affine, groups = (cache.read(name, index) for name in parts)
        pictures = pictures if pictures.ndim == 3 else np.moveaxis(pictures, 1, -1)
        back = invert_affine(affine)
        truth = apply_affine(back, points).astype(np.float32)
        return cls(cache.info.names, pictures, back, truth, visibility > 0, groups)

    def find(self, model: KeypointModel, flip: bool) -> NDArray[np.float32]:
        """Points (N, K, 2) in source pixels, found as for a submission."""
        return apply_affine(self.back, locate(model, self.pictures, flip)).astype(np.float32)

    def errors(
        self, names: tuple[str, ...], points: NDArray[np.float32], asked: NDArray[np.int64], alike: Flags
    ) -> _Errors:
        """Errors of a model's `points` (N, C, 2), called `names`, where `asked` (n, 2) is keypoint and axis of each row.

        They are measured on the images `alike` (N,); on all of them for a keypoint of which those have no label.
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
