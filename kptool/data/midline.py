"""Checks that keypoints in no left/right pair lie on the midline, so that a flip need not swap them.

The mean shape is mirrored onto itself at the axis that its pairs define. A midline keypoint then maps to itself, and does
not lie on one side of the axis in nearly all samples. Two midline keypoints lie along the axis, not across it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import swap_order
from kptool.data import shapes
from kptool.data.shapes import Complex

_MISFIT, _PLAUSIBLE = 0.12, 2.0
"""Largest distance of a midline keypoint from its mirror image, in radii of the shape, or relative to the pairs' misfit."""
_ONE_SIDED, _OF_A_PAIR = 0.9, 0.25
"""A keypoint is lateral if it lies on one side in this share of the samples, this far out relative to the narrowest pair."""
_ACROSS, _STEADY, _LEAST = 2.0, 0.85, 4
"""Two keypoints are an unnamed pair if their distance across the axis exceeds that along it by this factor, in the same
direction in this share of the samples, of which there must be at least `_LEAST`."""


def off_axis(
    names: Sequence[str],
    points: NDArray[np.floating],
    labelled: NDArray[np.bool_],
    *,
    pairs: Sequence[tuple[int, int]],
    middle: Sequence[int],
) -> str | None:
    """The reason why keypoints `middle` are not all on the midline that `pairs` define; None if they are.

    points: (N, K, 2). labelled: bool (N, K).
    """
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
    """The axis (a point and a direction) at which the mean shape `m` (K,), mirrored and reordered, best matches itself.

    ends: indices of the paired keypoints, which alone count. Also returns their root-mean-square misfit.
    """
    ends_of = np.array(order)[ends]
    across = m[ends] - m[ends_of]
    direction = 1j * np.sqrt(np.square(across).sum())  # squares, because a line's direction has no sign
    direction /= max(abs(direction), 1e-300)
    middle = ((m[ends] + m[ends_of]) / 2).mean()
    local = _upright(m, (middle, direction))
    missed = np.abs(-local[ends].conj() - local[ends_of])
    return (middle, direction), float(np.sqrt(np.square(missed).mean()))


def _upright(z: Complex, axis: tuple[complex, complex]) -> Complex:
    """Points in the frame of the axis: real part across it, imaginary part along it."""
    middle, direction = axis
    return np.asarray((z - middle) / direction * 1j)


def _in_middle(across: NDArray[np.float64], mean: float, misfit: float, narrowest: float) -> bool:
    """Whether a keypoint is on the axis, by its offsets `across` the axis in the samples and in the mean shape."""
    if 2 * abs(mean) > max(_MISFIT, _PLAUSIBLE * misfit):
        return False
    one_sided = max(float((across > 0).mean()), float((across < 0).mean())) >= _ONE_SIDED
    return not (one_sided and abs(mean) > _OF_A_PAIR * narrowest)


def _narrowest(m: Complex, pairs: Sequence[tuple[int, int]]) -> float:
    """Half the distance between the keypoints of the narrowest pair."""
    apart = [abs(m[a] - m[b]) / 2 for a, b in pairs]
    return float(np.nanmin(apart))


def _hidden_pair(local: Complex, known: NDArray[np.bool_], middle: Sequence[int]) -> tuple[int, int] | None:
    """Two of the keypoints `middle` that lie across the axis, in the same direction in nearly all samples."""
    for i, a in enumerate(middle):
        for b in middle[i + 1 :]:
            both = known[:, a] & known[:, b]
            gap = local[both, a] - local[both, b]
            if len(gap) < _LEAST or abs(np.median(gap.real)) <= _ACROSS * abs(np.median(gap.imag)):
                continue
            if max((gap.real > 0).mean(), (gap.real < 0).mean()) >= _STEADY:
                return a, b
    return None
