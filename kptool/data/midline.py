"""Whether keypoints whose names tell no side lie in the middle of a thing, so that they stay what they are in a mirror.

The mean shape is mirrored onto itself by its pairs of left and right alone. A point in the middle comes to lie on itself,
and is not on one side of the axis in nearly all samples; two points in the middle lie along the axis, not across it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import swap_order
from kptool.data import shapes
from kptool.data.shapes import Complex

_MISFIT, _PLAUSIBLE = 0.12, 2.0
"""How far from itself a point may be mirrored, as a share of the shape's radius, or of how far the pairs' ends miss theirs."""
_ONE_SIDED, _OF_A_PAIR = 0.9, 0.25
"""In what share of the samples a point on one side lies there, and how far out it is, as a share of the narrowest pair."""
_ACROSS, _STEADY, _LEAST = 2.0, 0.85, 4
"""Two points are a pair whose names do not say so where they lie so many times as far apart across the axis as along it, the
same way round in this share of the samples, of which there must be some."""


def off_axis(
    names: Sequence[str],
    points: NDArray[np.floating],
    labelled: NDArray[np.bool_],
    *,
    pairs: Sequence[tuple[int, int]],
    middle: Sequence[int],
) -> str | None:
    """Why the keypoints `middle` of points (N, K, 2) do not all lie on the axis that `pairs` tell, in words; else None."""
    mean = shapes.mean_shape(points, labelled)
    if mean is None or not len(middle):
        return None
    m = shapes.to_complex(mean)
    ends = np.array([k for pair in pairs for k in pair if np.isfinite(m[list(pair)]).all()], int)
    if not len(ends):
        return f"{names[middle[0]]!r} tells no side, and no sample has both ends of a pair to see the middle by"
    known = labelled & np.isfinite(m)
    moved = shapes.align(shapes.to_complex(points), known.astype(float), np.nan_to_num(m))
    axis, misfit = _mirror(m, ends, swap_order(len(m), pairs))
    local = _upright(moved, axis)
    narrowest = _narrowest(m, pairs)
    for k in middle:
        count = int(known[:, k].sum())
        if count < _LEAST:
            return f"{names[k]!r} tells no side, and {count} labels of it do not show whether it is in the middle"
        if not _in_middle(local[known[:, k], k].real, float(_upright(m, axis)[k].real), misfit, narrowest):
            return f"{names[k]!r} tells no side and does not lie in the middle"
    hidden = _hidden_pair(local, known, middle)
    if hidden is not None:
        a, b = hidden
        return f"{names[a]!r} and {names[b]!r} lie as left and right do, and their names do not say so"
    return None


def _mirror(m: Complex, ends: NDArray[np.int64], order: Sequence[int]) -> tuple[tuple[complex, complex], float]:
    """The axis on which the mirrored mean shape, its pairs swapped, lies on itself best by the pairs' `ends`: a point on it
    and its direction. And how far the ends then miss their counterparts, root mean square."""
    ends_of = np.array(order)[ends]
    across = m[ends] - m[ends_of]
    direction = 1j * np.sqrt(np.square(across).sum())  # lines have no sense, so that their squares are averaged
    direction /= max(abs(direction), 1e-300)
    middle = ((m[ends] + m[ends_of]) / 2).mean()
    local = _upright(m, (middle, direction))
    missed = np.abs(-local[ends].conj() - local[ends_of])
    return (middle, direction), float(np.sqrt(np.square(missed).mean()))


def _upright(z: Complex, axis: tuple[complex, complex]) -> Complex:
    """Points in the axis' own frame: real across it, imaginary along it."""
    middle, direction = axis
    return np.asarray((z - middle) / direction * 1j)


def _in_middle(across: NDArray[np.float64], mean: float, misfit: float, narrowest: float) -> bool:
    """Whether a point whose samples lie so far `across` the axis, and that on the whole lies at `mean`, is on it."""
    if 2 * abs(mean) > max(_MISFIT, _PLAUSIBLE * misfit):
        return False
    one_sided = max(float((across > 0).mean()), float((across < 0).mean())) >= _ONE_SIDED
    return not (one_sided and abs(mean) > _OF_A_PAIR * narrowest)


def _narrowest(m: Complex, pairs: Sequence[tuple[int, int]]) -> float:
    """Half the distance between the two ends of the narrowest pair."""
    apart = [abs(m[a] - m[b]) / 2 for a, b in pairs]
    return float(np.nanmin(apart))


def _hidden_pair(local: Complex, known: NDArray[np.bool_], middle: Sequence[int]) -> tuple[int, int] | None:
    """Two of the points in the middle that lie across the axis, the same way round in nearly all samples."""
    for i, a in enumerate(middle):
        for b in middle[i + 1 :]:
            both = known[:, a] & known[:, b]
            gap = local[both, a] - local[both, b]
            if len(gap) < _LEAST or abs(np.median(gap.real)) <= _ACROSS * abs(np.median(gap.imag)):
                continue
            if max((gap.real > 0).mean(), (gap.real < 0).mean()) >= _STEADY:
                return a, b
    return None
