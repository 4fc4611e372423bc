"""The 68-point face scheme of 300-W, also called iBUG-68 (Sagonas et al., ICCV workshops 2013).

Indices start at 0. Left and right are the subject's, as everywhere in kptool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

MIRROR: tuple[int, ...] = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
"""The index of each point's mirror image; a point on the midline is its own."""

FLIP_PAIRS: tuple[tuple[int, int], ...] = tuple((k, other) for k, other in enumerate(MIRROR) if k < other)
"""The index pairs that swap when an image is mirrored."""

PARTS: Mapping[str, tuple[int, ...]] = {
    "left_eye_center": (42, 43, 44, 45, 46, 47),
    "right_eye_center": (36, 37, 38, 39, 40, 41),
    "left_eye_inner_corner": (42,),
    "left_eye_outer_corner": (45,),
    "right_eye_inner_corner": (39,),
    "right_eye_outer_corner": (36,),
    "left_eyebrow_inner_end": (22,),
    "left_eyebrow_outer_end": (26,),
    "right_eyebrow_inner_end": (21,),
    "right_eyebrow_outer_end": (17,),
    "nose_tip": (30,),
    "mouth_left_corner": (54,),
    "mouth_right_corner": (48,),
    "mouth_center_top_lip": (51,),
    "mouth_center_bottom_lip": (57,),
}
"""For each keypoint of `kptool.base.skeleton.FACE15`, the indices of the points whose mean it is."""


LANDMARKS = ("right_eye_center", "left_eye_center", "nose_tip", "mouth_right_corner", "mouth_left_corner")
"""The points by which a face is located, as its detector gives them; left and right are the subject's."""


def is_face(names: Sequence[str]) -> bool:
    """Whether keypoints of these names are a face's, which a face's detector finds: with `LANDMARKS`, or the 68 points."""
    return set(LANDMARKS) <= set(names) or is_face68(names)


def is_face68(names: Sequence[str]) -> bool:
    """Whether `names` are 68 names with one common prefix, numbered consecutively from 0 or from 1."""
    numbers = [re.search("[0-9]+$", name) for name in names]
    prefixes = {name[: match.start()] for name, match in zip(names, numbers, strict=True) if match}
    values = [int(match[0]) for match in numbers if match and len(match[0]) < 4]
    return len(names) == 68 and len(prefixes) == 1 and values in (list(range(68)), list(range(1, 69)))
