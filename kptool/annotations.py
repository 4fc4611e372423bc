"""What every dataset reader yields, whatever file it came from: blocks of images with their keypoints.

Invariant: past a reader there is no NaN. A keypoint that has no label has visibility 0 and coordinates (0, 0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.errors import DataError
from kptool.geometry import Size

UNLABELLED, OCCLUDED, VISIBLE = 0, 1, 2


@dataclass(frozen=True)
class Skeleton:
    """The names of the K keypoints, in order, and the index pairs that swap when an image is mirrored."""

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        paired = [index for pair in self.flip_pairs for index in pair]
        if not self.names or len(set(self.names)) != len(self.names):
            raise DataError(f"keypoint names must be given and differ from each other; got {self.names}")
        if len(set(paired)) != len(paired) or any(not 0 <= i < len(self.names) for i in paired):
            raise DataError(
                f"flip pairs must name each of {len(self.names)} keypoints at most once; got {self.flip_pairs}"
            )

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Samples:
    """A block of n samples, all cut to one size.

    images: uint8 (n, H, W), or (n, 3, H, W) in colour. keypoints: float32 (n, K, 2), pixels of `images`.
    visibility: uint8 (n, K), 0 unlabelled, 1 occluded, 2 visible. rows: int64 (n,), the sample's row in its source.
    affines: float64 (n, 2, 3), source pixels -> pixels of `images`; None where they are the same.
    """

    images: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    rows: NDArray[np.int64]
    affines: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def select(self, keep: NDArray[np.bool_]) -> Samples:
        """The samples where `keep` (n,) is true."""
        affines = None if self.affines is None else self.affines[keep]
        return Samples(self.images[keep], self.keypoints[keep], self.visibility[keep], self.rows[keep], affines)


@dataclass(frozen=True)
class Source:
    """An opened data set: what it holds, and how to stream it.

    `blocks` may be called once per pass; memory does not grow with the number of rows. `files` are hashed into the
    cache. `total` is None where counting would take a pass of its own.
    """

    label: str
    skeleton: Skeleton
    size: Size
    channels: int
    blocks: Callable[[], Iterator[Samples]]
    files: tuple[Path, ...] = ()
    total: int | None = None


@dataclass(frozen=True)
class Dataset:
    """A reader plugin: each module of `kptool.datasets` exports one as ``DATASET``.

    `matches(path)` says cheaply whether the path looks like this format; `open(path, **options)` validates the
    header and returns a `Source`, raising DataError with file, row and fix.
    """

    summary: str
    matches: Callable[[Path], bool]
    open: Callable[..., Source]
    options: dict[str, Any] = field(default_factory=dict)


def infer_flip_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs of names that differ by "left" and "right" alone; a keypoint without a partner is in none."""
    index = {name: k for k, name in enumerate(names)}
    partners = ((k, index.get(name.replace("left", "right"))) for name, k in index.items() if "left" in name)
    return tuple((k, partner) for k, partner in partners if partner is not None)


_FACE15 = (
    "left_eye_center right_eye_center left_eye_inner_corner left_eye_outer_corner right_eye_inner_corner "
    "right_eye_outer_corner left_eyebrow_inner_end left_eyebrow_outer_end right_eyebrow_inner_end "
    "right_eyebrow_outer_end nose_tip mouth_left_corner mouth_right_corner mouth_center_top_lip mouth_center_bottom_lip"
)

FACE15 = Skeleton(tuple(_FACE15.split()), flip_pairs=((0, 1), (2, 4), (3, 5), (6, 8), (7, 9), (11, 12)))
"""The 15 keypoints of Kaggle's Facial Keypoints Detection, in its column order; left is the subject's left."""
