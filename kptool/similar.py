"""Near-duplicates among images: neighbouring frames of a video, another crop of one picture, one person in one room.

Each image becomes histograms of local binary patterns (Ojala, Pietikainen & Maenpaa, PAMI 2002: the 58 uniform patterns
of 8 neighbours, and one bin for the others) at two radii in 4x4 cells, which lighting and small shifts hardly change.
Two images belong together where both are among the other's nearest, alike in that and as thumbnails of 16x16 pixels,
whose correlation plays the part of a perceptual hash's distance; what belongs together with the same image does so, too.
All pairs are compared: 10 000 images take seconds, 100 000 some ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CELLS, _RADII, _THUMB = 4, (1, 2), 16
_NEAREST, _ALIKE, _LOOK = 3, 0.74, 0.6
"""How many neighbours may be duplicates, and from which correlation of patterns and of thumbnails on they are: chosen
on one half of the people of faces15 for 97 % of the pairs being one person's."""
_BLOCK = 1024
_OFFSETS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


@dataclass(frozen=True)
class Pairs:
    """Near-duplicates: samples a and b (P,), a below b, and the correlation of their patterns (P,)."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    alike: NDArray[np.float32]


def clusters(blocks: Iterable[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """For each image of `blocks`, (n, H, W) or (n, 3, H, W), the number of its cluster, -1 for one on its own: (N,)."""
    looks = Looks.of(blocks)
    found = pairs(looks)
    return components(len(looks.patterns), found.a, found.b)


@dataclass(frozen=True)
class Looks:
    """What images are compared by: patterns (N, D) and thumbnails (N, 256), float16 rows of unit length; spreads (N,)."""

    patterns: NDArray[np.float16]
    thumbs: NDArray[np.float16]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, blocks: Iterable[NDArray[np.uint8]]) -> Looks:
        """Of images in blocks; memory grows by some 4 KB for each."""
        parts: list[tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float64]]] = []
        for block in blocks:
            grey = (block if block.ndim == 3 else block.mean(1)).astype(np.float32)
            thumbs = _unit(_means(grey, _THUMB).reshape(len(grey), -1))
            parts.append((_unit(_patterns(grey)), thumbs, grey.std((1, 2)).astype(np.float64)))
        patterns, thumbs, spread = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(patterns, thumbs, spread)


def pairs(looks: Looks) -> Pairs:
    """All pairs of near-duplicates. Images without contrast, which are like everything, are in none."""
    nearest, alike = _neighbours(looks.patterns)
    a = np.repeat(np.arange(len(nearest)), nearest.shape[1])
    b, value = nearest.ravel(), alike.ravel()
    mutual = (nearest[b] == a[:, None]).any(1)
    flat = looks.spread < 2.0
    chosen = (a < b) & mutual & (value > _ALIKE) & ~flat[a] & ~flat[b]
    a, b, value = a[chosen], b[chosen], value[chosen]
    look = np.einsum("pd,pd->p", looks.thumbs[a].astype(np.float32), looks.thumbs[b].astype(np.float32))
    return Pairs(a[look > _LOOK], b[look > _LOOK], value[look > _LOOK])


def components(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The connected components of `count` nodes joined by edges a-b, numbered from 0; -1 for a node without any."""
    first, before = np.arange(count), None
    while before is None or not np.array_equal(first, before):
        before = first.copy()
        np.minimum.at(first, a, before[b])
        np.minimum.at(first, b, before[a])
        first = first[first]
    alone = np.ones(count, bool)
    alone[a] = alone[b] = False
    result = np.full(count, -1, dtype=np.int64)
    result[~alone] = np.unique(first[~alone], return_inverse=True)[1]
    return result


def _neighbours(rows: NDArray[np.float16]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Each row's nearest other rows (N, k) by correlation, the nearest first, and that correlation."""
    count = min(_NEAREST, len(rows) - 1)
    nearest = np.zeros((len(rows), count), np.int64)
    alike = np.full((len(rows), count), -1, np.float32)
    for start in range(0, len(rows), _BLOCK):
        mine = rows[start : start + _BLOCK].astype(np.float32)
        here = slice(start, start + len(mine))
        for first in range(0, len(rows), _BLOCK):
            other = rows[first : first + _BLOCK].astype(np.float32)
            close = mine @ other.T
            if first == start:
                np.fill_diagonal(close, -2)
            values = np.concatenate([alike[here], close], axis=1)
            places = np.concatenate(
                [nearest[here], np.broadcast_to(np.arange(first, first + len(other)), close.shape)], axis=1
            )
            best = np.argsort(-values, axis=1, kind="stable")[:, :count]
            alike[here] = np.take_along_axis(values, best, 1)
            nearest[here] = np.take_along_axis(places, best, 1)
    return nearest, alike


def _patterns(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square roots of the histograms of patterns (n, D) of grey images (n, H, W)."""
    n, height, width = images.shape
    rows, columns = (np.arange(length) * _CELLS // length for length in (height, width))
    cell = rows[:, None] * _CELLS + columns
    bins = _BINS.max() + 1
    parts = []
    for radius in _RADII:
        padded = np.pad(images, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
        code = np.zeros(images.shape, np.uint8)
        for bit, (dy, dx) in enumerate(_OFFSETS):
            y, x = radius * (1 + dy), radius * (1 + dx)
            code |= (padded[:, y : y + height, x : x + width] >= images).astype(np.uint8) << np.uint8(bit)
        place = (np.arange(n)[:, None, None] * _CELLS**2 + cell) * bins + _BINS[code]
        parts.append(np.bincount(place.ravel(), minlength=n * _CELLS**2 * bins).reshape(n, -1))
    return np.sqrt(np.concatenate(parts, axis=1)).astype(np.float32)


def _bins() -> NDArray[np.int64]:
    """The bin of each of the 256 patterns: a bin for every one with at most two changes around the circle, one for the rest."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, uniform.sum())


_BINS = _bins()


def _means(images: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Block means (n, side, side) of images (n, H, W); smaller ones are repeated."""
    y, x = (np.linspace(0, length, side + 1).astype(int)[:-1] for length in images.shape[1:])
    return np.asarray(np.add.reduceat(np.add.reduceat(images, y, axis=1), x, axis=2))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float16]:
    """Rows of zero mean and unit length."""
    centred = rows - rows.mean(1, keepdims=True)
    lengths = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return np.asarray(centred / lengths, np.float16)
