"""What `kptool doctor` says: findings, and what its checks look at."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import apply_affine, invert_affine
from kptool.cache.store import Cache
from kptool.data.similar import Descriptors, Near
from kptool.doctor.suspects import Suspicion


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong. `sample` is the index in the cache, `row` the row in its source, both None for what is
    of no row; `other` a sample that it is compared with; `keypoint` an index, and `suggested` where a model sees it, in
    pixels of the cache's images. `certain` is False for what may well be right, as pictures that look alike."""

    check: str
    sample: int | None
    row: int | None
    detail: str
    other: int | None = None
    keypoint: int | None = None
    suggested: tuple[float, float] | None = None
    certain: bool = True


@dataclass(frozen=True)
class Data:
    """What the checks look at; points (N, K, 2), visibility (N, K), near-duplicates, and what may be said of labels.

    `groups` (N,) are those that somebody stated, -1 where nobody did for a sample; None where there are none.
    """

    cache: Cache
    points: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    descriptors: Descriptors
    near: Near
    groups: NDArray[np.int64] | None
    suspicion: Suspicion = field(repr=False)
    back: NDArray[np.float64] = field(repr=False)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which keypoints have a label, (N, K)."""
        return self.visibility > 0

    def in_picture(self, sample: int, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points (..., 2) of a sample's image as pixels of the picture that it was made from."""
        flat = np.asarray(points, np.float64).reshape(-1, 2)
        return np.asarray(apply_affine(self.back[sample], flat), np.float64).reshape(np.shape(points))

    @classmethod
    def of(
        cls, cache: Cache, descriptors: Descriptors, near: Near, groups: NDArray[np.int64] | None, suspicion: Suspicion
    ) -> Data:
        """With the labels that the cache holds."""
        points, visibility = cache.read("keypoints"), cache.read("visibility")
        return cls(cache, points, visibility, descriptors, near, groups, suspicion, invert_affine(cache.read("affine")))
