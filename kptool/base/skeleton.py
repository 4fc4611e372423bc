"""Skeletons: keypoint names, flip pairs and visibility values."""

from __future__ import annotations

from dataclasses import dataclass, field

from kptool.base.errors import DataError

UNLABELLED, OCCLUDED, VISIBLE = 0, 1, 2
"""Visibility values, as in COCO."""

MAX_KEYPOINTS = 2048
"""Upper limit for the number of keypoints in a file, so that memory stays bounded."""


def numbered_names(count: int) -> tuple[str, ...]:
    """Names for `count` keypoints that a file does not name: p01, p02, ..."""
    return tuple(f"p{k + 1:02d}" for k in range(count))


@dataclass(frozen=True)
class Skeleton:
    """The names of the K keypoints, in order, and the index pairs that swap when an image is mirrored.

    `mirror` is False if the flip pairs are not known; then images are never mirrored. `edges` are the index pairs
    that are drawn as lines, if the source states any; skeletons that differ in them alone are equal. Raises DataError
    for empty or repeated names, for flip pairs that are out of range or share a keypoint, and for edges out of range.
    """

    names: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()
    mirror: bool = True
    edges: tuple[tuple[int, int], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        paired = [index for pair in self.flip_pairs for index in pair]
        if not self.names or "" in self.names or len(set(self.names)) != len(self.names):
            raise DataError(f"keypoint names must be given and differ from each other; got {self.names}")
        if len(set(paired)) != len(paired) or any(not 0 <= i < len(self.names) for i in paired):
            raise DataError(
                f"flip pairs must name each of {len(self.names)} keypoints at most once; got {self.flip_pairs}"
            )
        if any(a == b or not (0 <= a < len(self.names) and 0 <= b < len(self.names)) for a, b in self.edges):
            raise DataError(f"edges must join two of {len(self.names)} keypoints; got {self.edges}")

    def __len__(self) -> int:
        return len(self.names)


_FACE15 = (
    "left_eye_center right_eye_center left_eye_inner_corner left_eye_outer_corner right_eye_inner_corner "
    "right_eye_outer_corner left_eyebrow_inner_end left_eyebrow_outer_end right_eyebrow_inner_end "
    "right_eyebrow_outer_end nose_tip mouth_left_corner mouth_right_corner mouth_center_top_lip mouth_center_bottom_lip"
)

FACE15 = Skeleton(tuple(_FACE15.split()), flip_pairs=((0, 1), (2, 4), (3, 5), (6, 8), (7, 9), (11, 12)))
"""The 15 keypoints of Kaggle's Facial Keypoints Detection, in its column order; left is the subject's left."""
