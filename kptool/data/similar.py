"""Near-duplicates among images: neighbouring frames of a video, another crop of one picture, one person in one room.

Each image becomes histograms of local binary patterns (Ojala, Pietikainen & Maenpaa, PAMI 2002: the 58 uniform patterns
of 8 neighbours, and one bin for the others) at two radii in 4x4 cells, which lighting and small shifts hardly change.
Two images are near-duplicates where both those and thumbnails of 16x16 pixels correlate above a threshold, or where all
their pixels are the same; what is near the same image belongs together, too. Every pair above the threshold counts, so
a thousand copies of an image stay together as two do.

All pairs are compared, block by block, and joined as they are found: memory is some 4 KB an image and one block, whatever
the number of pairs; time grows with the square of the number of images (`benchmarks/doctor_experiment.py` measures it).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CELLS, _RADII, _THUMB = 4, (1, 2), 16
_LOOK = 0.6
_ALIKE, _DOUBLED, _ABOVE, _SURE = 0.74, 0.007, 0.54, 0.94
"""From which correlation of patterns on images are near-duplicates: of a few, and how much more whenever there are twice as
many, as there are then more pairs that could be so by chance; as a share of the way from what any two of the set have to 1,
where that is more; and at the most. Of thumbnails it is `_LOOK`. Chosen on 50 to 2134 faces of known people so that at
least nine in ten of the pairs that clusters imply are one person's: with 0.03 less, clusters of different people run
together. Pictures of one kind of thing in one pose, as X-rays, are all alike above 0.8, and still of different things."""
_USUAL_FROM, _USUAL_OF = 40, 1000
"""Images from which on two of a set say what is usual, and how many of them are looked at for that."""
FLAT = 2.0
"""Standard deviation, of 255, below which an image has no contrast, and is like everything."""
_BLOCK = 2048
_OFFSETS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))

_Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True)
class Pairs:
    """Near-duplicates: samples a and b (P,), a below b, and the correlation of their patterns (P,)."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    alike: NDArray[np.float32]


@dataclass(frozen=True)
class Near:
    """What is near each of N images. cluster (N,): the number of its cluster, -1 for one on its own. other (N,): of its
    near-duplicates on the other side of a split the one most alike, -1 for none, and `alike` (N,) their correlation; kin
    and `kin_alike` (N,): the same among those of its own group. Near-duplicates are those above `threshold`."""

    cluster: NDArray[np.int64]
    other: NDArray[np.int64]
    alike: NDArray[np.float32]
    kin: NDArray[np.int64]
    kin_alike: NDArray[np.float32]
    threshold: float


@dataclass(frozen=True)
class Descriptors:
    """What images are compared by: patterns (N, D) and thumbnails (N, 256), float16 rows of unit length; standard
    deviations `contrast` (N,); `digest` (N,), which is one number for equal pixels."""

    patterns: NDArray[np.float16]
    thumbs: NDArray[np.float16]
    contrast: NDArray[np.float64]
    digest: NDArray[np.uint64]

    @classmethod
    def of(cls, blocks: Iterable[NDArray[np.uint8]]) -> Descriptors:
        """Of images in blocks; memory grows by some 4 KB for each."""
        parts: list[tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float64], NDArray[np.uint64]]] = []
        for block in blocks:
            grey = (block if block.ndim == 3 else block.mean(1)).astype(np.float32)
            thumbs = _unit(_means(grey, _THUMB).reshape(len(grey), -1))
            digest = np.array([_digest(image) for image in block], np.uint64)
            parts.append((_unit(_patterns(grey)), thumbs, grey.std((1, 2)).astype(np.float64), digest))
        patterns, thumbs, contrast, digest = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(patterns, thumbs, contrast, digest)


def clusters(blocks: Iterable[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """For each image of `blocks`, (n, H, W) or (n, 3, H, W), the number of its cluster, -1 for one on its own: (N,)."""
    return near(Descriptors.of(blocks)).cluster


def near(
    descriptors: Descriptors, side: NDArray[np.bool_] | None = None, groups: NDArray[np.int64] | None = None
) -> Near:
    """Clusters of near-duplicates, and the nearest ones across a split whose sides are told apart by `side` (N,).

    Images without contrast, which are like everything, are near none. `groups` (N,) are those that are known, else -1.
    """
    count, least = len(descriptors.contrast), threshold(descriptors)
    root, any_, kin = np.arange(count), _Best.none(count), _Best.none(count)
    for a, b, value in _edges(descriptors, least):
        _join(root, a, b)
        if side is None:
            continue
        across = side[a] != side[b]
        any_.see(a[across], b[across], value[across])
        if groups is not None:
            across &= (groups[a] == groups[b]) & (groups[a] >= 0)
            kin.see(a[across], b[across], value[across])
    return Near(_numbered(_settled(root)), any_.other, any_.alike, kin.other, kin.alike, least)


def pairs(descriptors: Descriptors) -> Pairs:
    """All pairs of near-duplicates: as many as there are, so for measuring; `near` needs no memory for them."""
    found = [np.concatenate(part) for part in zip(*_edges(descriptors, threshold(descriptors)), strict=True)]
    a, b, value = found
    _, first = np.unique(a * len(descriptors.contrast) + b, return_index=True)
    return Pairs(a[first], b[first], value[first])


def threshold(descriptors: Descriptors) -> float:
    """The correlation of patterns above which images are near-duplicates: more where any two of the set are alike."""
    distinct = np.unique(descriptors.digest[descriptors.contrast >= FLAT], return_index=True)[1]
    if len(distinct) < _USUAL_FROM:
        return _ALIKE
    some = np.flatnonzero(descriptors.contrast >= FLAT)[np.sort(distinct)][:: -(-len(distinct) // _USUAL_OF)]
    rows = descriptors.patterns[some].astype(np.float32)
    usual = float(np.median((rows @ rows.T)[np.triu_indices(len(some), 1)]))
    chance = _ALIKE + _DOUBLED * float(np.log2(len(distinct) / _USUAL_FROM))
    return min(max(chance, usual + _ABOVE * (1 - usual)), _SURE)


def components(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The connected components of `count` nodes joined by edges a-b, numbered from 0; -1 for a node without any."""
    root = np.arange(count)
    _join(root, a, b)
    return _numbered(_settled(root))


def same_pixels(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float | None:
    """How much two images of one shape differ, as the root mean square of grey levels, where they are all but identical:
    by at most 5 % of their contrast on the whole and 32 grey levels anywhere, as a copy that was packed again does."""
    apart = one.astype(np.float32) - other.astype(np.float32)
    differ = float(np.sqrt(np.square(apart).mean()))
    close = differ <= _DIFFER * min(float(one.std()), float(other.std())) and float(np.abs(apart).max()) <= _ANYWHERE
    return differ if close else None


_DIFFER, _ANYWHERE = 0.05, 32


def _edges(descriptors: Descriptors, least: float) -> Iterator[_Edges]:
    """Near-duplicates, block by block: samples a below b, and how alike; equal ones first, each with the first of its kind."""
    contrast = np.flatnonzero(descriptors.contrast >= FLAT)
    _, first, kind = np.unique(descriptors.digest[contrast], return_index=True, return_inverse=True)
    again = first[kind] != np.arange(len(contrast))
    yield contrast[first[kind[again]]], contrast[again], np.ones(int(again.sum()), np.float32)
    for start in range(0, len(contrast), _BLOCK):
        rows = contrast[start : start + _BLOCK]
        mine, thumbs = descriptors.patterns[rows].astype(np.float32), descriptors.thumbs[rows].astype(np.float32)
        for begin in range(start, len(contrast), _BLOCK):
            columns = contrast[begin : begin + _BLOCK]
            close = mine @ descriptors.patterns[columns].astype(np.float32).T
            likely = close > least
            if begin == start:
                likely &= np.triu(np.ones_like(likely), 1)
            a, b = np.nonzero(likely)
            look = _correlations(thumbs, descriptors.thumbs[columns].astype(np.float32), a, b) > _LOOK
            a, b = a[look], b[look]
            yield rows[a], columns[b], close[a, b]


def _correlations(
    rows: NDArray[np.float32], columns: NDArray[np.float32], a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The products of rows a and columns b (P,): one by one where they are few, else out of those of all."""
    if len(a) < len(rows) * len(columns) / 16:
        return np.asarray(np.einsum("pd,pd->p", rows[a], columns[b]))
    return np.asarray((rows @ columns.T)[a, b])


def _join(root: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    """Union by edges: afterwards both ends of each lead to one node, the least of their component."""
    while len(a):
        a, b = _settled(root)[a], root[b]
        apart = a != b
        a, b = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        np.minimum.at(root, b, a)


def _settled(root: NDArray[np.int64]) -> NDArray[np.int64]:
    """`root`, every node led to the end of its way at once."""
    while not np.array_equal(further := root[root], root):
        root[:] = further
    return root


def _numbered(root: NDArray[np.int64]) -> NDArray[np.int64]:
    """Components numbered from 0 by nodes' roots (N,); -1 for a node on its own."""
    alone = np.bincount(root, minlength=len(root))[root] == 1
    result = np.full(len(root), -1, dtype=np.int64)
    result[~alone] = np.unique(root[~alone], return_inverse=True)[1]
    return result


@dataclass(frozen=True)
class _Best:
    """Each sample's neighbour that is most alike of those seen: other (N,), -1 for none, and alike (N,)."""

    other: NDArray[np.int64]
    alike: NDArray[np.float32]

    @classmethod
    def none(cls, count: int) -> _Best:
        return cls(np.full(count, -1, np.int64), np.full(count, -1, np.float32))

    def see(self, a: NDArray[np.int64], b: NDArray[np.int64], value: NDArray[np.float32]) -> None:
        """Note the edges a-b (P,) for both ends, where they are better than what is noted."""
        for mine, its in ((a, b), (b, a)):
            better = np.flatnonzero(value > self.alike[mine])
            best = better[np.argsort(value[better], kind="stable")]  # of several for one place the last one stays
            self.other[mine[best]], self.alike[mine[best]] = its[best], value[best]


def _digest(image: NDArray[np.uint8]) -> int:
    return int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest(), "little")


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
