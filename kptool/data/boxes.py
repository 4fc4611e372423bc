"""The box of each labelled thing: the one that its file states, else one made from its keypoints.

A made box is the keypoints' extent, as much larger as stated boxes are than their things' keypoints. Where hardly any
keypoints are labelled their extent says little of the thing: its box is then no smaller than boxes usually are in the data
set, and never smaller than a quarter of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.data.annotations import Labelled
from kptool.data.notes import counted

_LEAST, _PIXEL = 8.0, 1.0
"""FlipPairs in pixels: of what is cut out at all, and below which a stated box is a mistake."""
_SHARE, _FEW, _MOST_GROWTH = 0.25, 0.5, 3.0


@dataclass(frozen=True)
class Boxes:
    """The boxes of n things. edges: float64 (n, 4), x and y of the left and top edge, width, height, in the picture's
    pixels, with all labelled keypoints inside; NaN where nothing is known. stated: bool (n,), which are the file's own.
    labelled: bool (n,), which things have a keypoint. usual: width and height of the usual box, 0 where nothing tells."""

    edges: NDArray[np.float64]
    stated: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    usual: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def made(self) -> int:
        """How many boxes are made from keypoints."""
        return int((self.labelled & ~self.stated).sum())


def boxes(things: Sequence[Labelled], places: Sequence[Path]) -> Boxes:
    """The box of each thing; `places` are the files of their pictures, equal for things that one picture shows."""
    seen = np.stack([thing.visibility for thing in things]) > 0
    points = np.stack([thing.keypoints for thing in things]).astype(np.float64)
    low = np.where(seen[..., None], points - 0.5, np.inf).min(1)
    high = np.where(seen[..., None], points + 0.5, -np.inf).max(1)
    given = np.array([thing.box or (np.nan,) * 4 for thing in things], np.float64)
    stated = np.asarray((given[:, 2:] >= _PIXEL).all(1))
    labelled = np.asarray(seen.any(1))
    count = seen.sum(1)
    few = count <= _FEW * np.median(count[labelled]) if labelled.any() else count < 1
    whole = labelled & ~few & (count > 1)
    growth, usual = _scale(given[:, 2:], high - low, stated, whole)
    with np.errstate(invalid="ignore"):  # where nothing is labelled, low is inf and high -inf
        middle = (low + high) / 2
        if not usual.any():
            usual = np.full(2, _spacing(middle, places, labelled))
        made = np.maximum((high - low) * growth, np.where((few | (count == 1))[:, None], usual, _SHARE * usual))
        first, last = middle - made / 2, middle + made / 2
        first[stated] = np.fmin(low, given[:, :2])[stated]
        last[stated] = np.fmax(high, given[:, :2] + given[:, 2:])[stated]
        grow = np.maximum(_LEAST - (last - first), 0) / 2
    edges = np.concatenate([first - grow, last - first + 2 * grow], 1)
    edges[~(labelled | stated)] = np.nan
    return Boxes(edges, stated, labelled, usual, tuple(_odd(given, stated, points, seen)))


def _scale(
    given: NDArray[np.float64], extents: NDArray[np.float64], stated: NDArray[np.bool_], whole: NDArray[np.bool_]
) -> tuple[float, NDArray[np.float64]]:
    """How many times as large boxes are as keypoints' extents, and the usual box (width, height); 0 where none tells.

    given, extents: (n, 2). `whole` things have most of their keypoints labelled.
    """
    both = stated & whole
    growth = 1.0
    if both.any():
        growth = float(np.clip(np.median(given[both].max(1) / extents[both].max(1)), 1.0, _MOST_GROWTH))
    if stated.any():
        return growth, np.median(given[stated], axis=0)
    return growth, np.median(extents[whole], axis=0) if whole.any() else np.zeros(2)


def _spacing(middles: NDArray[np.float64], places: Sequence[Path], labelled: NDArray[np.bool_]) -> float:
    """How far things of one picture usually lie from their nearest neighbour, in pixels; 0 where none has one."""
    pictures: dict[Path, list[int]] = {}
    for thing in np.flatnonzero(labelled).tolist():
        pictures.setdefault(places[thing], []).append(thing)
    nearest = []
    for some in pictures.values():
        if len(some) > 1:
            apart = np.linalg.norm(middles[some][:, None] - middles[some][None], axis=-1)
            np.fill_diagonal(apart, np.inf)
            nearest += apart.min(1).tolist()
    return float(np.median(nearest)) if nearest else 0.0


def _odd(
    given: NDArray[np.float64], stated: NDArray[np.bool_], points: NDArray[np.float64], seen: NDArray[np.bool_]
) -> list[str]:
    """What to say of stated boxes that cannot be meant."""
    tiny = int((np.isfinite(given).all(1) & ~stated).sum())
    with np.errstate(invalid="ignore"):
        first, last = given[:, None, :2] - _PIXEL, given[:, None, :2] + given[:, None, 2:] + _PIXEL
        inside = ((points >= first) & (points <= last)).all(-1) & seen
    astray = int((stated & (inside.sum(1) * 2 < seen.sum(1))).sum())
    return [
        *counted(tiny, "{n} box{es} of less than a pixel {are} not used; a box is x, y, width and height in pixels"),
        *counted(
            astray, "{n} box{es} of {of} have fewer than half of their things' keypoints inside", of=int(stated.sum())
        ),
    ]
