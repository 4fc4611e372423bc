"""Finds near-duplicate images: neighbouring frames of a video, crops of one picture, one person in one room.

Each image is described by histograms of local binary patterns (Ojala, Pietikainen & Maenpaa, PAMI 2002: the 58 uniform
patterns of 8 neighbours, and one bin for the others) at two radii in 4x4 cells, which are robust to lighting and small
shifts, and by a thumbnail of 16x16 pixels. Two images are near-duplicates if both correlate above a threshold, or if all
their pixels are equal. Clusters are the connected components of these pairs.

All pairs are compared, block by block, and merged immediately: memory is about 4 KB per image plus one block, whatever the
number of pairs; time is quadratic in the number of images (`benchmarks/doctor_experiment.py` measures it).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CELLS, _RADII, _THUMB = 4, (1, 2), 16
_THUMB_ALIKE = 0.6
"""Least correlation of near-duplicates' thumbnails."""
_ALIKE, _DOUBLED, _ABOVE, _SURE = 0.74, 0.007, 0.54, 0.94
"""Least correlation of near-duplicates' patterns: `_ALIKE` for small sets, plus `_DOUBLED` per doubling of the set, as more
pairs then correlate by chance; if larger, `_ABOVE` of the way from the set's median correlation to 1; at most `_SURE`.
Chosen on 50 to 2134 faces of known people so that at least nine in ten pairs within clusters are of one person: with 0.03
less, clusters of different people merge. Images of one kind in one pose, such as X-rays, correlate above 0.8 without being
duplicates."""
_USUAL_FROM, _USUAL_OF = 40, 1000
"""Images needed to estimate a set's median correlation, and images used for it at most."""
FLAT = 2.0
"""Standard deviation, in grey levels, below which an image has no contrast and is not compared."""
_BLOCK = 2048
_OFFSETS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))

_Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


@dataclass(frozen=True)
class Pairs:
    """Pairs of near-duplicates: samples a < b (P,), and the correlation of their patterns (P,)."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    alike: NDArray[np.float32]


@dataclass(frozen=True)
class Near:
    """The near-duplicates of N images.

    cluster: (N,), the number of the image's cluster, -1 for none. other, alike: (N,), its most similar near-duplicate in
    the other part of a train/validation split (-1 for none), and their correlation. kin, kin_alike: (N,), the same, within
    its own group. threshold: the least correlation of near-duplicates.
    """

    cluster: NDArray[np.int64]
    other: NDArray[np.int64]
    alike: NDArray[np.float32]
    kin: NDArray[np.int64]
    kin_alike: NDArray[np.float32]
    threshold: float


@dataclass(frozen=True)
class Descriptors:
    """The descriptors of N images.

    patterns: float16 (N, D), and thumbs: float16 (N, 256), rows of zero mean and unit length. contrast: (N,), standard
    deviations in grey levels. digest: (N,), a hash of the pixels.
    """

    patterns: NDArray[np.float16]
    thumbs: NDArray[np.float16]
    contrast: NDArray[np.float64]
    digest: NDArray[np.uint64]

    @classmethod
    def of(cls, blocks: Iterable[NDArray[np.uint8]]) -> Descriptors:
        """Describe uint8 images in blocks (n, H, W) or (n, 3, H, W); takes about 4 KB of memory per image."""
        parts: list[tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float64], NDArray[np.uint64]]] = []
        for block in blocks:
            grey = (block if block.ndim == 3 else block.mean(1)).astype(np.float32)
            thumbs = _unit(_block_sums(grey, _THUMB).reshape(len(grey), -1))
            digest = np.array([_digest(image) for image in block], np.uint64)
            parts.append((_unit(_patterns(grey)), thumbs, grey.std((1, 2)).astype(np.float64), digest))
        patterns, thumbs, contrast, digest = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(patterns, thumbs, contrast, digest)


def clusters(blocks: Iterable[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """The cluster (N,) of each image in blocks (n, H, W) or (n, 3, H, W); -1 for images without near-duplicates."""
    return near(Descriptors.of(blocks)).cluster


def near(
    descriptors: Descriptors, side: NDArray[np.bool_] | None = None, groups: NDArray[np.int64] | None = None
) -> Near:
    """Find clusters of near-duplicates, and the most similar ones across a split.

    side: bool (N,), the part of the split each image is in. groups: (N,), known groups, else -1. Images without contrast
    have no near-duplicates.
    """
    count, least = len(descriptors.contrast), threshold(descriptors)
    root, any_, kin = np.arange(count), _Best.none(count), _Best.none(count)
    for a, b, value in _edges(descriptors, least):
        _join(root, a, b)
        if side is None:
            continue
        across = side[a] != side[b]
        any_.update(a[across], b[across], value[across])
        if groups is not None:
            across &= (groups[a] == groups[b]) & (groups[a] >= 0)
            kin.update(a[across], b[across], value[across])
    return Near(_numbered(_compressed(root)), any_.other, any_.alike, kin.other, kin.alike, least)


def pairs(descriptors: Descriptors) -> Pairs:
    """All pairs of near-duplicates, for measurements. Unlike `near` it needs memory for each pair."""
    found = [np.concatenate(part) for part in zip(*_edges(descriptors, threshold(descriptors)), strict=True)]
    a, b, value = found
    _, first = np.unique(a * len(descriptors.contrast) + b, return_index=True)
    return Pairs(a[first], b[first], value[first])


def threshold(descriptors: Descriptors) -> float:
    """The correlation of patterns above which images of this set are near-duplicates."""
    distinct = np.unique(descriptors.digest[descriptors.contrast >= FLAT], return_index=True)[1]
    if len(distinct) < _USUAL_FROM:
        return _ALIKE
    some = np.flatnonzero(descriptors.contrast >= FLAT)[np.sort(distinct)][:: -(-len(distinct) // _USUAL_OF)]
    rows = descriptors.patterns[some].astype(np.float32)
    usual = float(np.median((rows @ rows.T)[np.triu_indices(len(some), 1)]))
    chance = _ALIKE + _DOUBLED * float(np.log2(len(distinct) / _USUAL_FROM))
    return min(max(chance, usual + _ABOVE * (1 - usual)), _SURE)


def components(count: int, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The connected components of `count` nodes with edges a-b (P,), numbered from 0; -1 for nodes without edges."""
    root = np.arange(count)
    _join(root, a, b)
    return _numbered(_compressed(root))


def same_pixels(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float | None:
    """The root-mean-square difference of two images of equal shape, in grey levels, if they are copies; else None.

    Copies, such as recompressed files, differ by at most 5 % of their contrast, and by at most 32 grey levels anywhere.
    """
    apart = one.astype(np.float32) - other.astype(np.float32)
    differ = float(np.sqrt(np.square(apart).mean()))
    close = differ <= _DIFFER * min(float(one.std()), float(other.std())) and float(np.abs(apart).max()) <= _ANYWHERE
    return differ if close else None


_DIFFER, _ANYWHERE = 0.05, 32


def _edges(descriptors: Descriptors, least: float) -> Iterator[_Edges]:
    """Near-duplicates a < b and their correlations, in blocks; first each exact copy with the first of its kind."""
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
            alike = _correlations(thumbs, descriptors.thumbs[columns].astype(np.float32), a, b) > _THUMB_ALIKE
            a, b = a[alike], b[alike]
            yield rows[a], columns[b], close[a, b]


def _correlations(
    rows: NDArray[np.float32], columns: NDArray[np.float32], a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The products (P,) of rows a and columns b: computed one by one if they are few, else taken from the full matrix."""
    if len(a) < len(rows) * len(columns) / 16:
        return np.asarray(np.einsum("pd,pd->p", rows[a], columns[b]))
    return np.asarray((rows @ columns.T)[a, b])


def _join(root: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
    """Union-find: merge the components of each edge a-b in place; a component's root is its smallest node."""
    while len(a):
        a, b = _compressed(root)[a], root[b]
        apart = a != b
        a, b = np.minimum(a, b)[apart], np.maximum(a, b)[apart]
        np.minimum.at(root, b, a)


def _compressed(root: NDArray[np.int64]) -> NDArray[np.int64]:
    """`root` after path compression, in place: every node points directly to its component's root."""
    while not np.array_equal(further := root[root], root):
        root[:] = further
    return root


def _numbered(root: NDArray[np.int64]) -> NDArray[np.int64]:
    """Components numbered from 0, by the nodes' roots (N,); -1 for isolated nodes."""
    alone = np.bincount(root, minlength=len(root))[root] == 1
    result = np.full(len(root), -1, dtype=np.int64)
    result[~alone] = np.unique(root[~alone], return_inverse=True)[1]
    return result


@dataclass(frozen=True)
class _Best:
    """Each sample's most similar neighbour so far: other (N,), -1 for none, and alike (N,), their correlation."""

    other: NDArray[np.int64]
    alike: NDArray[np.float32]

    @classmethod
    def none(cls, count: int) -> _Best:
        """No neighbours yet for `count` samples."""
        return cls(np.full(count, -1, np.int64), np.full(count, -1, np.float32))

    def update(self, a: NDArray[np.int64], b: NDArray[np.int64], value: NDArray[np.float32]) -> None:
        """Take the edges a-b (P,) into account, for both of their nodes."""
        for mine, its in ((a, b), (b, a)):
            better = np.flatnonzero(value > self.alike[mine])
            best = better[np.argsort(value[better], kind="stable")]  # of several for one sample the last is kept
            self.other[mine[best]], self.alike[mine[best]] = its[best], value[best]


def _digest(image: NDArray[np.uint8]) -> int:
    return int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest(), "little")


def _patterns(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square roots of the pattern histograms (n, D) of grey images (n, H, W)."""
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
    """The bin of each of the 256 patterns: one per uniform pattern (at most two changes around the circle), one for the rest."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, uniform.sum())


_BINS = _bins()


def _block_sums(images: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Block sums (n, side, side) of images (n, H, W); pixels of images smaller than `side` are repeated."""
    y, x = (np.linspace(0, length, side + 1).astype(int)[:-1] for length in images.shape[1:])
    return np.asarray(np.add.reduceat(np.add.reduceat(images, y, axis=1), x, axis=2))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float16]:
    """Rows shifted to zero mean and scaled to unit length."""
    centred = rows - rows.mean(1, keepdims=True)
    lengths = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return np.asarray(centred / lengths, np.float16)
