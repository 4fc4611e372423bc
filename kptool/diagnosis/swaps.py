"""Labels with left and right swapped, detected by handedness, independently of the object's position, rotation and size.

A labelled shape is aligned to the mean shape by a similarity transform, which cannot reflect, once as it is and once with
flip pairs swapped. It is reported if it fits well when swapped and much worse as it is; otherwise the case is undecided
and not reported. Residuals are in units of each keypoint's typical distance from the mean shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import swap_order
from kptool.data import shapes
from kptool.data.shapes import Complex

_FITS, _BETTER = 2.5, 2.0
"""The largest residual of a shape that fits once swapped, and how many times as large it must be as labelled."""
_PAIR_FITS, _PAIR_OFF = 4.0, 6.0
"""The largest residual of one pair's points once swapped, and the smallest as labelled."""
_BOTH_SIDES = 0.25
"""Above this share of wholly swapped samples, the object is taken for one seen from both sides, such as a leaf."""
_MOST_VALUES = 4_000_000
"""Limit of pairs times keypoints tried at once for one sample, which bounds memory."""


@dataclass(frozen=True)
class Swap:
    """A sample whose left and right are swapped, in the whole shape or in some `pairs` (indices into the flip pairs).

    before, after: residual of the labels as they are and once swapped, in units of the typical distance; for a single
    pair, that of its two points.
    """

    sample: int
    pairs: tuple[int, ...]
    whole: bool
    before: float
    after: float


def find(points: NDArray[np.floating], labelled: NDArray[np.bool_], pairs: Sequence[tuple[int, int]]) -> list[Swap]:
    """The swaps in points (N, K, 2) with `labelled` (N, K), sorted by sample."""
    mean = shapes.mean_shape(points, labelled) if len(pairs) else None
    if mean is None:
        return []
    fit = _Fit.of(points, labelled, pairs, mean)
    before, after = fit.distance(fit.known), fit.distance(fit.known, fit.swapped)
    whole = (after <= _FITS) & (after * _BETTER <= before) & fit.decidable
    if whole.sum() > _BOTH_SIDES * max(1, fit.decidable.sum()):
        whole[:] = False
    result = [
        Swap(int(i), tuple(np.flatnonzero(fit.both[i]).tolist()), True, float(before[i]), float(after[i]))
        for i in np.flatnonzero(whole)
    ]
    doubtful = np.flatnonzero(~whole & (before > 1) & (fit.both.sum(1) > 1))
    result += [swap for i in doubtful for swap in fit.single(int(i))]
    return sorted(result, key=lambda swap: (swap.sample, swap.pairs))


@dataclass(frozen=True)
class _Fit:
    """Fits shapes to the mean shape.

    z: shapes as complex numbers (N, K). known: labelled points (N, K). mean: the mean shape (K,). unit: typical distance
    from it (K,). pairs: flip pairs (P, 2). both: pairs with both points labelled (N, P). swapped: the order (K,) of the
    points with all pairs swapped.
    """

    z: Complex
    known: NDArray[np.bool_]
    mean: Complex
    unit: NDArray[np.float64]
    pairs: NDArray[np.int64]
    both: NDArray[np.bool_]
    swapped: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        points: NDArray[np.floating],
        labelled: NDArray[np.bool_],
        pairs: Sequence[tuple[int, int]],
        mean: NDArray[np.float64],
    ) -> _Fit:
        """Prepare points (N, K, 2) for fitting; points missing from `mean` (K, 2) count as unlabelled."""
        unit = shapes.typical_distance(points, labelled, mean)
        m = shapes.to_complex(mean)
        known = labelled & np.isfinite(m)
        index = np.array(pairs, np.int64).reshape(-1, 2)
        both = np.asarray(known[:, index].all(-1))
        order = np.array(swap_order(points.shape[1], pairs), np.int64)
        return cls(shapes.to_complex(points), known, np.nan_to_num(m), unit, index, both, order)

    @property
    def decidable(self) -> NDArray[np.bool_]:
        """Samples with a fully labelled pair and enough points to fit, (N,)."""
        return np.asarray(self.both.any(1) & (self.known.sum(1) >= shapes.LEAST_POINTS))

    def residuals(self, z: Complex, known: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Distance of each point of the aligned shapes (..., K) from the mean shape, in units; 0 for unknown points."""
        weights = known / self.unit**2
        moved = shapes.align(z, weights, self.mean)
        return np.where(known, np.abs(moved - self.mean) / self.unit, 0)

    def distance(self, known: NDArray[np.bool_], order: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Root mean square residual of each sample, (N,), with its points in `order` (K,)."""
        z = self.z
        if order is not None:
            z, known = z[:, order], known[:, order]
        return np.asarray(np.sqrt((self.residuals(z, known) ** 2).sum(1) / np.maximum(known.sum(1), 1)))

    def single(self, sample: int) -> list[Swap]:
        """The single pairs of a sample that are swapped, found greedily: the best swap first, while one helps enough."""
        known, open_ = self.known[sample], np.flatnonzero(self.both[sample])
        order, chosen = np.arange(len(known)), []
        now = self.residuals(self.z[sample], known)
        while len(open_) and len(open_) * len(known) <= _MOST_VALUES:
            tried = np.stack([self._with_swap(order, pair) for pair in open_])
            after = self.residuals(self.z[sample][tried], known[tried])
            best = int(np.square(after).sum(1).argmin())
            ends = self.pairs[open_[best]]
            was, became = (float(np.sqrt(np.square(each[ends]).mean())) for each in (now, after[best]))
            gain = np.square(now).sum() - np.square(after[best]).sum()
            if became > _PAIR_FITS or was < max(_PAIR_OFF, _BETTER * became) or gain < was**2:
                break
            chosen.append(Swap(sample, (int(open_[best]),), False, was, became))
            order, now, open_ = tried[best], after[best], np.delete(open_, best)
        return chosen

    def _with_swap(self, order: NDArray[np.int64], pair: np.int64) -> NDArray[np.int64]:
        """`order` with one pair swapped."""
        changed = order.copy()
        changed[self.pairs[pair]] = order[self.pairs[pair][::-1]]
        return changed
