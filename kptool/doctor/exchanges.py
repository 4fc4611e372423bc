"""Left and right exchanged in a label: told by handedness, whatever the place, the turn and the size of the thing.

A shape is fitted onto the mean shape by a similarity, which never reflects, as it is labelled and with pairs of left and
right exchanged. Exchanged is what fits as shapes usually do once it is exchanged, and far worse as it is; where that does
not decide, nothing is said. Residuals are in units of what is usual for each keypoint.
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
"""How far, in units of what is usual, a shape may be from the mean shape to fit, and how many times as far it must be as
it is labelled."""
_PAIR_FITS, _PAIR_OFF = 4.0, 6.0
"""The same of the two points of one pair, exchanged and as they are labelled."""
_BOTH_SIDES = 0.25
"""Share of wholly exchanged samples from which on the thing is one that is seen from both sides, as a leaf or a back."""
_MOST_PAIRS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Exchange:
    """One sample whose left and right are exchanged: in all its `pairs`, or in those (indices into the flip pairs) alone.

    before, after: how far the labels are from the mean shape as they are and exchanged, as multiples of what is usual;
    of one pair, that of its points.
    """

    sample: int
    pairs: tuple[int, ...]
    whole: bool
    before: float
    after: float


def find(points: NDArray[np.floating], labelled: NDArray[np.bool_], pairs: Sequence[tuple[int, int]]) -> list[Exchange]:
    """The exchanges in points (N, K, 2), labelled where (N, K) says so, by sample."""
    mean = shapes.mean_shape(points, labelled) if len(pairs) else None
    if mean is None:
        return []
    judge = _Judge.of(points, labelled, pairs, mean)
    none, every = judge.distance(judge.known), judge.distance(judge.known, judge.whole)
    whole = (every <= _FITS) & (every * _BETTER <= none) & judge.decidable
    if whole.sum() > _BOTH_SIDES * max(1, judge.decidable.sum()):
        whole[:] = False
    result = [
        Exchange(int(i), tuple(np.flatnonzero(judge.both[i]).tolist()), True, float(none[i]), float(every[i]))
        for i in np.flatnonzero(whole)
    ]
    doubtful = np.flatnonzero(~whole & (none > 1) & (judge.both.sum(1) > 1))
    result += [exchange for i in doubtful for exchange in judge.single(int(i))]
    return sorted(result, key=lambda exchange: (exchange.sample, exchange.pairs))


@dataclass(frozen=True)
class _Judge:
    """Shapes z (N, K), which are `known`, the mean shape (K,) and usual distances `unit` (K,); `pairs` (P, 2), which of
    them are labelled at `both` ends (N, P), and the order (K,) that exchanges them all."""

    z: Complex
    known: NDArray[np.bool_]
    mean: Complex
    unit: NDArray[np.float64]
    pairs: NDArray[np.int64]
    both: NDArray[np.bool_]
    whole: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        points: NDArray[np.floating],
        labelled: NDArray[np.bool_],
        pairs: Sequence[tuple[int, int]],
        mean: NDArray[np.float64],
    ) -> _Judge:
        unit = shapes.typical_distance(points, labelled, mean)
        m = shapes.to_complex(mean)
        known = labelled & np.isfinite(m)
        index = np.array(pairs, np.int64).reshape(-1, 2)
        both = np.asarray(known[:, index].all(-1))
        order = np.array(swap_order(points.shape[1], pairs), np.int64)
        return cls(shapes.to_complex(points), known, np.nan_to_num(m), unit, index, both, order)

    @property
    def decidable(self) -> NDArray[np.bool_]:
        """Which samples have a pair, and a third point, (N,)."""
        return np.asarray(self.both.any(1) & (self.known.sum(1) >= shapes.LEAST_POINTS))

    def residuals(self, z: Complex, known: NDArray[np.bool_]) -> NDArray[np.float64]:
        """How far each point of shapes (..., K) is from the mean's, in units of what is usual; 0 where not known."""
        weights = known / self.unit**2
        moved = shapes.align(z, weights, self.mean)
        return np.where(known, np.abs(moved - self.mean) / self.unit, 0)

    def distance(self, known: NDArray[np.bool_], order: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Root mean square of the residuals of all samples, (N,), their points taken in `order`."""
        z = self.z
        if order is not None:
            z, known = z[:, order], known[:, order]
        return np.asarray(np.sqrt((self.residuals(z, known) ** 2).sum(1) / np.maximum(known.sum(1), 1)))

    def single(self, sample: int) -> list[Exchange]:
        """The pairs of one sample that are exchanged on their own: each is found while it makes the shape fit better."""
        known, open_ = self.known[sample], np.flatnonzero(self.both[sample])
        order, chosen = np.arange(len(known)), []
        now = self.residuals(self.z[sample], known)
        while len(open_) and len(open_) * len(known) <= _MOST_PAIRS_AT_ONCE:
            tried = np.stack([self._exchanged(order, pair) for pair in open_])
            after = self.residuals(self.z[sample][tried], known[tried])
            best = int(np.square(after).sum(1).argmin())
            ends = self.pairs[open_[best]]
            was, became = (float(np.sqrt(np.square(each[ends]).mean())) for each in (now, after[best]))
            gain = np.square(now).sum() - np.square(after[best]).sum()
            if became > _PAIR_FITS or was < max(_PAIR_OFF, _BETTER * became) or gain < was**2:
                break
            chosen.append(Exchange(sample, (int(open_[best]),), False, was, became))
            order, now, open_ = tried[best], after[best], np.delete(open_, best)
        return chosen

    def _exchanged(self, order: NDArray[np.int64], pair: np.int64) -> NDArray[np.int64]:
        changed = order.copy()
        changed[self.pairs[pair]] = order[self.pairs[pair][::-1]]
        return changed
