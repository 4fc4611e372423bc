"""`kptool doctor`: what looks wrong in a cache, sample by sample. It reads, reports, and changes nothing.

Every check is a function from the cache's arrays to findings; a finding names the sample, its row in the source and
what was seen, so that a person can go and look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kptool.cache import Cache
from kptool.progress import Progress, silent
from kptool.splits import VAL

_THUMB = 16
_ALIKE = 0.995
"""Correlation of 16x16 thumbnails above which two images count as near-duplicates: neighbouring frames of a video."""


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong. `sample` is the index in the cache, `row` the row in its source."""

    check: str
    sample: int
    row: int
    detail: str


def examine(cache: Cache, progress: Progress = silent) -> list[Finding]:
    """All findings of a cache, check by check."""
    points, visibility, rows = cache.read("keypoints"), cache.read("visibility"), cache.read("row")
    images = _Images.scan(cache, progress)
    found = [
        *_outside(points, visibility, cache),
        *_swapped(points, visibility, cache),
        *_constant(images),
        *_leaks(images, cache),
    ]
    return [Finding(check, sample, int(rows[sample]), detail) for check, sample, detail in found]


_Found = Iterator[tuple[str, int, str]]


@dataclass(frozen=True)
class _Images:
    """What the checks need of the images: spread (N,), and thumbnails (N, 256) of zero mean and unit length."""

    spread: NDArray[np.float64]
    thumbs: NDArray[np.float32]

    @classmethod
    def scan(cls, cache: Cache, progress: Progress) -> _Images:
        spreads, thumbs = [], []
        done = 0
        for block in cache.blocks("images"):
            grey = block if block.ndim == 3 else block.mean(1)
            spreads.append(grey.std((1, 2)))
            thumbs.append(_thumbnails(grey))
            done += len(block)
            progress("images", done, len(cache))
        return cls(np.concatenate(spreads), np.concatenate(thumbs))


def _thumbnails(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Block means (n, 256) of images (n, H, W), normalised; images smaller than a thumbnail are repeated."""
    n, height, width = images.shape
    y = np.linspace(0, height, _THUMB + 1).astype(int)[:-1]
    x = np.linspace(0, width, _THUMB + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(images.astype(np.float32), y, axis=1), x, axis=2).reshape(n, -1)
    sums -= sums.mean(1, keepdims=True)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def _outside(points: NDArray[np.float32], visibility: NDArray[np.uint8], cache: Cache) -> _Found:
    """Labelled keypoints that are not numbers, or lie outside of their image."""
    height, width = cache.info.size
    inside = (points >= -0.5) & (points <= np.array([width - 0.5, height - 0.5]))
    for sample, k in np.argwhere((visibility > 0) & ~np.logical_and.reduce(inside, axis=-1)):
        x, y = points[sample, k]
        yield "outside", int(sample), f"{cache.info.names[k]} ({x:.1f}, {y:.1f}) is outside the {width}x{height} image"


def _swapped(points: NDArray[np.float32], visibility: NDArray[np.uint8], cache: Cache) -> _Found:
    """Samples in which most flip pairs stand the other way round than in most samples: left and right exchanged."""
    pairs = np.array(cache.info.flip_pairs).reshape(-1, 2)
    if not len(pairs):
        return
    gap = points[:, pairs[:, 0], 0] - points[:, pairs[:, 1], 0]
    known = np.logical_and.reduce(visibility[:, pairs] > 0, axis=-1)
    usual = np.sign(np.median(np.where(known, gap, 0), axis=0))
    wrong = (known & (np.sign(gap) * usual < 0)).sum(1)
    for sample in np.flatnonzero(wrong * 2 > known.sum(1).clip(1)):
        yield (
            "swapped",
            int(sample),
            f"{wrong[sample]} of {known[sample].sum()} left/right pairs stand the other way round",
        )


def _constant(images: _Images) -> _Found:
    for sample in np.flatnonzero(images.spread < 2.0):
        yield (
            "constant",
            int(sample),
            f"the image has almost no contrast (standard deviation {images.spread[sample]:.2f} of 255)",
        )


def _leaks(images: _Images, cache: Cache) -> _Found:
    """Validation images that have a near-duplicate among the training images."""
    split = cache.read("split")
    val, train = np.flatnonzero(split == VAL), np.flatnonzero(split != VAL)
    if not len(train):
        return
    for sample in val[images.spread[val] >= 2.0]:
        alike = images.thumbs[train] @ images.thumbs[sample]
        nearest = int(alike.argmax())
        if alike[nearest] > _ALIKE:
            yield (
                "leak",
                int(sample),
                f"nearly the same image as training sample {train[nearest]} (correlation {alike[nearest]:.4f})",
            )
