"""Checks that labels are in pixels of their pictures: detects normalised coordinates, other picture sizes, swapped axes.

Only what no real data set contains is refused: most instances smaller than a pixel in the corner of their pictures, or
most keypoints outside their pictures. Suspicious labels are reported in notes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError
from kptool.base.geometry import Size, to_edges
from kptool.data import images
from kptool.data.annotations import LabelFile, Samples, Source

_FARTHEST = 1e6
"""Pixels; the largest plausible coordinate."""
_LOW, _HIGH, _EXTENT, _LEFT_OF, _OUTSIDE = -2.05, 1.05, 1.1, -0.6, 2.05
"""Bounds of normalised coordinates, which range over 0..1, or over -1..1 from the picture's middle and so left of any pixel;
one less in formats that count pixels from 1. _EXTENT: of one instance. _OUTSIDE: for points predicted beyond the edge."""
_SIZE_SAMPLE, _ENOUGH = 1000, 8
"""Pictures whose sizes are read, and keypoints needed for a verdict."""
_LARGE, _FILLED, _BEYOND = 250, 60, 5
"""Coordinates in percent: the smallest picture side at which they are recognisable, the part of 0..100 they must cover, and
the tolerance beyond that range."""


def check(path: Path, file: LabelFile, places: Sequence[Path]) -> tuple[str, ...]:
    """Notes on suspicious labels of `file` for the pictures at `places`.

    Raises DataError, with the label and the fix, for labels that cannot be pixels of their pictures.
    """
    points = np.stack([thing.keypoints for thing in file.things]).astype(np.float64)
    seen = np.stack([thing.visibility for thing in file.things]) > 0
    _require_finite(path, file, points, seen)
    corner = in_first_pixel(points, seen)
    labelled = int(seen.any(1).sum())
    first = int(np.argmax(corner))
    if corner.any() and corner.sum() * 2 >= labelled:
        raise _normalised(path, int(corner.sum()), labelled, points[first][seen[first]][0], file.things[first].picture)
    notes = []
    if corner.any():
        notes.append(
            f"all keypoints of {corner.sum()} of {labelled} things lie in the first pixel of their pictures or beside it, the"
            f" first in {file.things[first].picture}; they look like fractions of the picture size, not pixels"
        )
    return (*notes, *_against_sizes(path, file, places, points, seen))


def checked(source: Source) -> Source:
    """The source with the same check: its block iterator ends with a DataError if its labels cannot be pixels."""

    def blocks() -> Iterator[Samples]:
        corner, labelled, example = 0, 0, None
        for samples in source.blocks():
            seen = samples.visibility > 0
            tiny = in_first_pixel(samples.keypoints, seen)
            corner, labelled = corner + int(tiny.sum()), labelled + int(seen.any(1).sum())
            if example is None and tiny.any():
                i = int(np.argmax(tiny))
                example = samples.keypoints[i][seen[i]][0], f"row {samples.rows[i]}"
            yield samples
        if example is not None and corner * 2 >= labelled:
            raise _normalised(source.label, corner, labelled, *example)

    return replace(source, blocks=blocks)


def _normalised(path: Path | str, count: int, labelled: int, point: NDArray[np.floating], where: str) -> DataError:
    return DataError(
        f"{path}: all keypoints of {count} of {labelled} things lie in the first pixel of their pictures or beside it, as"
        f" ({point[0]:g}, {point[1]:g}) of {where}; these look like fractions of the picture size: multiply x by"
        " the width and y by the height"
    )


def in_first_pixel(points: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which instances (N,) seem to have normalised coordinates: labelled keypoints within a pixel of the picture's corner.

    points: (N, K, 2). seen: bool (N, K). Up to half of the keypoints may lie slightly further out, like those of a body cut
    off by the edge. Excluded are instances with whole and half numbers only (such as 0,0 for no label), and those that are
    two pixels wide and inside their picture.
    """
    inside = seen & ((points >= _LOW) & (points <= _HIGH)).all(-1)
    near = seen & ((points >= _LOW) & (points <= _OUTSIDE)).all(-1)
    low = np.where(inside[..., None], points, np.inf).min(1)
    high = np.where(inside[..., None], points, -np.inf).max(1)
    with np.errstate(invalid="ignore"):
        narrow = (high - low <= _EXTENT).all(-1) | (low < _LEFT_OF).any(-1)
        broken = seen & (np.abs(2 * points - np.round(2 * points)) > 2e-3).any(-1)
    most = inside.sum(1) * 2 >= seen.sum(1)
    return np.asarray(seen.any(1) & most & (near == seen).all(1) & narrow & broken.any(1))


def _require_finite(path: Path, file: LabelFile, points: NDArray[np.float64], seen: NDArray[np.bool_]) -> None:
    """Raise DataError for a labelled keypoint that is not finite or absurdly far away."""
    sane = np.isfinite(points).all(-1) & (np.abs(np.nan_to_num(points)).max(-1) <= _FARTHEST)
    wrong = np.argwhere(seen & ~sane)
    if len(wrong):
        thing, k = wrong[0]
        x, y = points[thing, k]
        raise DataError(
            f"{path}: {file.names[k]} of {file.things[thing].picture} is ({x:g}, {y:g}); correct it, or mark it unlabelled"
        )


def _against_sizes(
    path: Path, file: LabelFile, places: Sequence[Path], points: NDArray[np.float64], seen: NDArray[np.bool_]
) -> Iterator[str]:
    """Notes from comparing labels with picture sizes; of files that do not state the sizes, a sample is read."""
    silent = np.array([row for row, thing in enumerate(file.things) if thing.size is None], dtype=np.int64)
    some = silent[np.unique(np.linspace(0, max(len(silent) - 1, 0), min(len(silent), _SIZE_SAMPLE)).astype(int))]
    rows = np.union1d(np.setdiff1d(np.arange(len(places)), silent), some)
    known: dict[Path, Size | None] = {}
    sizes = np.full((len(rows), 2), np.nan)
    for i, row in enumerate(rows.tolist()):
        size = file.things[row].size or known.get(places[row]) or images.size(places[row])
        known[places[row]] = size
        if size is not None:
            sizes[i] = size[::-1]
    rows, sizes = rows[~np.isnan(sizes[:, 0])], sizes[~np.isnan(sizes[:, 0])]
    points, seen = points[rows], seen[rows]
    yield from _percent(points, seen, sizes)
    beyond = seen & ~_within(points, sizes)
    if not beyond.any():
        return
    turned = seen & ~_within(points[..., ::-1], sizes)
    total, i = int(seen.sum()), int(np.argmax(beyond.any(1)))
    k = int(np.argmax(beyond[i]))
    (x, y), (width, height) = points[i, k], sizes[i].astype(int)
    thing = file.things[rows[i]]
    looked = " of the pictures checked" if len(rows) < len(places) else ""
    text = f"{beyond.sum()} of {total} keypoints{looked} lie beyond their pictures"
    first = f"{file.names[k]} of {thing.picture} at ({x:g}, {y:g}) of {width}x{height} pixels"
    exchanged = beyond.sum() >= max(_ENOUGH, 0.1 * total) and turned.sum() * 20 <= beyond.sum()
    if total >= _ENOUGH and beyond.sum() * 2 > total:
        fix = "exchange x and y" if exchanged else "give the pictures that were labelled, or scale the labels to these"
        raise DataError(f"{path}: {text}, the first is {first}; {fix}")
    yield f"{text}, the first is {first}"
    if exchanged:
        yield "exchanging x and y would bring them into their pictures; check the order of the columns"


def _within(points: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points (n, K, 2) lie in pictures of `sizes` (n, 2: width, height), within a pixel for other conventions."""
    edges = to_edges(points)
    return np.asarray(((edges >= -1) & (edges <= sizes[:, None] + 1)).all(-1))


def _percent(points: NDArray[np.float64], seen: NDArray[np.bool_], sizes: NDArray[np.float64]) -> Iterator[str]:
    """A note if labels of large pictures cover 0..100 or centre on its middle, as coordinates in percent do."""
    if seen.sum() < _ENOUGH or np.median(sizes.min(1)) < _LARGE:
        return
    low, middle, high = np.percentile(points[seen], [1, 50, 99], axis=0)
    filled = ((high - low > _FILLED) | ((middle > 30) & (middle < 70))).all()
    if (low >= -_BEYOND).all() and (high <= 100 + _BEYOND).all() and filled:
        width, height = np.median(sizes, axis=0).astype(int)
        yield (
            f"the keypoints lie in the first 100 pixels of pictures of {width}x{height}; if they are percent of the"
            " pictures' width and height, make them pixels"
        )
