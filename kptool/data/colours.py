"""The colour of each keypoint in every picture: one for each side, by the pairs that change places in a mirror.

Never by what a name merely contains: `upright` and `bright_spot` have no side. Of a pair, which end is the left one is told
by its names; of pairs whose names do not say it, by where they lie, so that one side of the thing is in one colour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEFT, RIGHT, MIDDLE = "#ff9f1c", "#2ec4b6", "#f15bb5"
_INITIALS = {("l", "r"): True, ("r", "l"): False}


def of(names: Sequence[str], pairs: Sequence[tuple[int, int]], shape: object = None) -> list[str]:
    """A colour per keypoint. `shape` (K, 2), any pixels, says where keypoints lie, NaN or None for what is not known;
    what is no such shape says nothing."""
    first = [left_first(names[a], names[b]) for a, b in pairs]
    place = _across(_checked(shape, len(names)), pairs)
    told = [where if is_first else -where for where, is_first in zip(place, first, strict=True) if is_first is not None]
    known = np.array(told)[np.isfinite(told)] if told else place[np.isfinite(place)][:1]
    left = -1 if np.sign(known).sum() < 0 else 1  # which side of the thing is its left, or the first pair's first end's
    result = [MIDDLE] * len(names)
    for (a, b), is_first, where in zip(pairs, first, place, strict=True):
        guessed = bool(where * left >= 0) or not np.isfinite(where)
        result[a], result[b] = (LEFT, RIGHT) if (guessed if is_first is None else is_first) else (RIGHT, LEFT)
    return result


def legend(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> str:
    """What the colours say, in words."""
    told = any(left_first(names[a], names[b]) is not None for a, b in pairs)
    return "left orange, right teal" if told else "one side orange, the other teal"


def left_first(one: str, other: str) -> bool | None:
    """Whether the first of a pair's names says left and the second right; False the other way round, None for neither."""
    differing = next(((a, b) for a, b in zip(one.lower(), other.lower(), strict=False) if a != b), ("", ""))
    return _INITIALS.get(differing)


def _checked(shape: object, count: int) -> NDArray[np.float64]:
    """The shape (count, 2), all NaN where it is none."""
    try:
        array = np.array(shape, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    return array if array.shape == (count, 2) else np.full((count, 2), np.nan)


def _across(shape: NDArray[np.float64], pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """How far each pair's first end lies to one side of the second, (P,), along the direction that pairs have in common."""
    gaps = np.array([shape[a] - shape[b] for a, b in pairs]).reshape(-1, 2)
    known = np.isfinite(gaps).all(-1)
    if not known.any():
        return np.full(len(pairs), np.nan)
    direction = np.linalg.svd(gaps[known], full_matrices=False)[2][0]
    return np.asarray(np.where(known, np.nan_to_num(gaps) @ direction, np.nan))
