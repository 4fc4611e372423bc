"""Keypoint colours for plots: one for left, one for right, one for the midline, decided by the flip pairs.

Substrings of names decide nothing: `upright` and `bright_spot` have no side. The two names of a pair tell which of them is
left; if they do not, the keypoints' positions do, so that each side of the object has one colour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kptool.base.palette import LEFT, MIDDLE, RIGHT

_INITIALS = {("l", "r"): True, ("r", "l"): False}


def of(names: Sequence[str], pairs: Sequence[tuple[int, int]], shape: object = None) -> list[str]:
    """A colour (#rrggbb) per keypoint.

    shape: (K, 2), keypoint positions in any unit, NaN or None if unknown; anything else is ignored.
    """
    first = [left_first(names[a], names[b]) for a, b in pairs]
    offsets = _offsets_across(_checked(shape, len(names)), pairs)
    named = [
        where if is_first else -where for where, is_first in zip(offsets, first, strict=True) if is_first is not None
    ]
    known = np.array(named)[np.isfinite(named)] if named else offsets[np.isfinite(offsets)][:1]
    left = -1 if np.sign(known).sum() < 0 else 1  # the sign of offsets towards the left, or towards the first pair's a
    result = [MIDDLE] * len(names)
    for (a, b), is_first, where in zip(pairs, first, offsets, strict=True):
        guessed = bool(where * left >= 0) or not np.isfinite(where)
        result[a], result[b] = (LEFT, RIGHT) if (guessed if is_first is None else is_first) else (RIGHT, LEFT)
    return result


def sides(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> dict[str, str]:
    """What the colours mean, each of them that occurs among the keypoints: "left", "right" and "midline"."""
    if not pairs:
        return {MIDDLE: "keypoint"}
    named = any(left_first(names[a], names[b]) is not None for a, b in pairs)
    both = ("left", "right") if named else ("one side", "the other side")
    alone = {MIDDLE: "midline"} if len(names) > len({k for pair in pairs for k in pair}) else {}
    return {LEFT: both[0], RIGHT: both[1], **alone}


def legend(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> str:
    """The colours and shapes in words."""
    marks = {LEFT: "orange circles", RIGHT: "blue squares", MIDDLE: "red diamonds"}
    return ", ".join(f"{what}: {marks[tint]}" for tint, what in sides(names, pairs).items())


def left_first(one: str, other: str) -> bool | None:
    """True if the first name of a pair is the left one, False if it is the right one, None if the names do not tell."""
    differing = next(((a, b) for a, b in zip(one.lower(), other.lower(), strict=False) if a != b), ("", ""))
    return _INITIALS.get(differing)


def _checked(shape: object, count: int) -> NDArray[np.float64]:
    """The shape as float64 (count, 2), all NaN if it has another form."""
    try:
        array = np.array(shape, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    return array if array.shape == (count, 2) else np.full((count, 2), np.nan)


def _offsets_across(shape: NDArray[np.float64], pairs: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Signed distances (P,) from each pair's second keypoint to its first, along the principal direction of all pairs."""
    gaps = np.array([shape[a] - shape[b] for a, b in pairs]).reshape(-1, 2)
    known = np.isfinite(gaps).all(-1)
    if not known.any():
        return np.full(len(pairs), np.nan)
    direction = np.linalg.svd(gaps[known], full_matrices=False)[2][0]
    return np.asarray(np.where(known, np.nan_to_num(gaps) @ direction, np.nan))
