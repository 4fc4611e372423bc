"""The box of each labelled instance: the stated one, else one derived from its keypoints.

A derived box is the extent of the keypoints, enlarged by the usual ratio of stated boxes to keypoint extents in the data
set. Every derived box has at least a quarter of the usual box size, or all of it if few keypoints are labelled, because
their extent then says little about the instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import pixel_edges
from kptool.data.annotations import Labelled
from kptool.data.notes import counted

_LEAST_SIDE, _LEAST_STATED = 8.0, 1.0
"""In pixels: the smallest side of any box, and the side below which a stated box is ignored as a mistake."""
_LEAST_SHARE, _MOST_GROWTH = 0.25, 3.0
"""Derived boxes: the smallest size relative to the usual box, and the largest enlargement of the keypoints' extent."""
_FEW = 0.5
"""An instance has few keypoints labelled if it has at most this share of the median number."""


@dataclass(frozen=True)
class Boxes:
    """The boxes of n instances.

    edges: float64 (n, 4), left edge, top edge, width, height, in pixels of the picture, with all labelled keypoints
    inside; NaN if there is neither a box nor a keypoint. stated: bool (n,), the file states the box. labelled: bool (n,),
    the instance has a labelled keypoint. usual: width and height of the usual box, 0 if unknown.
    """

    edges: NDArray[np.float64]
    stated: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    usual: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def made(self) -> int:
        """The number of boxes derived from keypoints."""
        return int((self.labelled & ~self.stated).sum())


def boxes(things: Sequence[Labelled], places: Sequence[Path]) -> Boxes:
    """The box of each instance; `places` are the files of their pictures, equal for instances in one picture."""
    seen = np.stack([thing.visibility for thing in things]) > 0
    points = np.stack([thing.keypoints for thing in things]).astype(np.float64)
    low, high = pixel_edges(points)
    low, high = np.where(seen[..., None], low, np.inf).min(1), np.where(seen[..., None], high, -np.inf).max(1)
    given = np.array([thing.box or (np.nan,) * 4 for thing in things], np.float64)
    stated = np.asarray((given[:, 2:] >= _LEAST_STATED).all(1))
    labelled = np.asarray(seen.any(1))
    count = seen.sum(1)
    few = count <= _FEW * np.median(count[labelled]) if labelled.any() else count < 1
    whole = labelled & ~few & (count > 1)
    growth, usual = _scale(given[:, 2:], high - low, stated, whole)
    with np.errstate(invalid="ignore"):  # without labels, low is inf and high is -inf
        middle = (low + high) / 2
        if not usual.any():
            usual = np.full(2, _spacing(middle, places, labelled))
        made = np.maximum((high - low) * growth, np.where((few | (count == 1))[:, None], usual, _LEAST_SHARE * usual))
        first, last = middle - made / 2, middle + made / 2
        first[stated] = np.fmin(low, given[:, :2])[stated]
        last[stated] = np.fmax(high, given[:, :2] + given[:, 2:])[stated]
        grow = np.maximum(_LEAST_SIDE - (last - first), 0) / 2
    edges = np.concatenate([first - grow, last - first + 2 * grow], 1)
    edges[~(labelled | stated)] = np.nan
    return Boxes(edges, stated, labelled, usual, tuple(_odd_boxes(given, stated, points, seen)))


def _scale(
    given: NDArray[np.float64], extents: NDArray[np.float64], stated: NDArray[np.bool_], whole: NDArray[np.bool_]
) -> tuple[float, NDArray[np.float64]]:
    """The usual ratio of stated boxes to keypoint extents, and the usual box (width, height); zeros if unknown.

    given: (n, 2), sizes of stated boxes. extents: (n, 2), of the keypoints. stated: (n,). whole: (n,), most keypoints are
    labelled.
    """
    both = stated & whole
    growth = 1.0
    if both.any():
        growth = float(np.clip(np.median(given[both].max(1) / extents[both].max(1)), 1.0, _MOST_GROWTH))
    if stated.any():
        return growth, np.median(given[stated], axis=0)
    return growth, np.median(extents[whole], axis=0) if whole.any() else np.zeros(2)


def _spacing(middles: NDArray[np.float64], places: Sequence[Path], labelled: NDArray[np.bool_]) -> float:
    """The median distance, in pixels, to the nearest other instance in the same picture; 0 if no picture has two."""
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


def _odd_boxes(
    given: NDArray[np.float64], stated: NDArray[np.bool_], points: NDArray[np.float64], seen: NDArray[np.bool_]
) -> list[str]:
    """Notes on boxes (n, 4) that are too small, or do not contain their keypoints."""
    tiny = int((np.isfinite(given).all(1) & ~stated).sum())
    with np.errstate(invalid="ignore"):
        first = given[:, None, :2] - _LEAST_STATED
        last = given[:, None, :2] + given[:, None, 2:] + _LEAST_STATED
        inside = ((points >= first) & (points <= last)).all(-1) & seen
    astray = int((stated & (inside.sum(1) * 2 < seen.sum(1))).sum())
    return [
        *counted(tiny, "{n} box{es} of less than a pixel {are} not used; a box is x, y, width and height in pixels"),
        *counted(
            astray, "{n} box{es} of {of} have fewer than half of their things' keypoints inside", of=int(stated.sum())
        ),
    ]
