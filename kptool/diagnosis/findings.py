"""Findings of `kptool doctor`, and the data that its checks work on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import apply_affine, invert_affine
from kptool.cache.store import Cache
from kptool.data.similar import Descriptors, Near
from kptool.diagnosis.suspects import Suspicion


@dataclass(frozen=True)
class Finding:
    """A suspected problem.

    check: a name from `examine.CHECKS`. sample: index in the cache; row: row in its source; both None for findings about
    the whole cache. detail: the description. other: the sample it was compared with. keypoint: an index. suggested: the
    expected position, pixels of the cache's images. certain: False if it may well be correct, such as similar pictures.
    """

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
    """The input of the checks.

    points (N, K, 2) and visibility (N, K) as in the cache, image descriptors, near-duplicates, and how far labels are from
    their expected positions. groups: (N,), as given by the user, -1 for samples without one; None if none are given. back:
    affine maps (N, 2, 3), pixels of the cache's images -> pixels of the source pictures.
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
        """Keypoints that have a label, (N, K)."""
        return self.visibility > 0

    def in_picture(self, sample: int, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map points (..., 2) of a sample's image to pixels of its source picture."""
        flat = np.asarray(points, np.float64).reshape(-1, 2)
        return np.asarray(apply_affine(self.back[sample], flat), np.float64).reshape(np.shape(points))

    @classmethod
    def of(
        cls, cache: Cache, descriptors: Descriptors, near: Near, groups: NDArray[np.int64] | None, suspicion: Suspicion
    ) -> Data:
        """The input for a cache, with its labels."""
        points, visibility = cache.read("keypoints"), cache.read("visibility")
        return cls(cache, points, visibility, descriptors, near, groups, suspicion, invert_affine(cache.read("affine")))
