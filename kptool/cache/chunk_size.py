"""How many samples are in a chunk of each dataset of a cache."""

from __future__ import annotations

import math

BLOCK = 64
"""Images in a chunk, if they are not large, and the default number of samples that are read at once."""
_CHUNK_BYTES = 16 << 20
"""The largest chunk of images, unless one image is larger."""
ROWS = {
    "images": BLOCK,
    "keypoints": 1024,
    "visibility": 1024,
    "row": 4096,
    "affine": 1024,
    "heatmaps": 1,
    "picture_size": 4096,
    "scene_images": 8,
    "scene_split": 4096,
    "box": 4096,
    "box_scene": 4096,
    "box_teaches": 4096,
}
"""Samples in a chunk of each dataset; /split and /group are one chunk each. See `rows_of` for /images."""


def rows_of(name: str, shape: tuple[int, ...]) -> int:
    """Samples of `shape` in a chunk of the dataset `name`, one of `ROWS`: fewer of large images."""
    return min(ROWS[name], max(1, _CHUNK_BYTES // math.prod(shape))) if name == "images" else ROWS[name]
