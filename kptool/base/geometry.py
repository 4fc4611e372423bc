"""The coordinate convention, stated once; every other module gets its half pixels from here.

A point is ``(x, y)``: x to the right, y down, in pixels. A size is ``(H, W)``. An integer coordinate is the
*centre* of a pixel, so an image of width W covers ``-0.5 <= x <= W - 0.5``, and resizing maps edges to edges:

    x_heatmap = (x + 0.5) / stride - 0.5        x = (x_heatmap + 0.5) * stride - 0.5

Left and right are the subject's: mirroring an image turns the left eye into the right one, so a flip also
swaps the flip pairs. An affine map is a 2x3 matrix ``A`` with ``p' = A[:, :2] @ p + A[:, 2]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
Box = tuple[float, float, float, float]
"""x and y of the left and top edge, width, height, in pixels."""
Floats = NDArray[np.floating[Any]]


def to_heatmap(points: Floats, stride: float) -> Floats:
    """Image pixels -> heatmap pixels, elementwise over an array of any shape."""
    return (points + 0.5) / stride - 0.5


def from_heatmap(points: Floats, stride: float) -> Floats:
    """Heatmap pixels -> image pixels; the inverse of `to_heatmap`."""
    return (points + 0.5) * stride - 0.5


def to_edges(points: Floats) -> Floats:
    """Pixels -> the coordinates of formats whose 0 is the picture's edge, where a pixel's centre is at a half."""
    return points + 0.5


def from_edges(points: Floats) -> Floats:
    """The inverse of `to_edges`."""
    return points - 0.5


def heatmap_size(size: Size, stride: int) -> Size:
    """(H, W) of the heatmaps of an image of `size`: rounded up, so that every pixel has a cell."""
    return -(-size[0] // stride), -(-size[1] // stride)


def swap_order(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The permutation of `count` keypoints that a flip applies: ``flipped[k] = original[order[k]]``."""
    order = list(range(count))
    for a, b in pairs:
        order[a], order[b] = b, a
    return order


def flip_points(points: Floats, width: int, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Mirror points (..., K, 2) of an image `width` pixels wide, and swap left with right."""
    flipped = points[..., swap_order(points.shape[-2], pairs), :].copy()
    flipped[..., 0] = (width - 1) - flipped[..., 0]
    return flipped


def scale_affine(source: Size, target: Size) -> NDArray[np.float64]:
    """The 2x3 map from pixels of an image of size `source` to the same image resized to `target`."""
    sy, sx = target[0] / source[0], target[1] / source[1]
    return np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5]])


def crop_affine(box: Box, target: Size) -> NDArray[np.float64]:
    """The 2x3 map that takes `box` = (x, y, width, height) to a whole image of size `target`.

    x and y are the box's left and top *edge*, so the whole of an image is the box (-0.5, -0.5, W, H). The aspect is
    not kept unless the box has it.
    """
    x, y, width, height = box
    sx, sy = target[1] / width, target[0] / height
    return np.array([[sx, 0.0, -x * sx - 0.5], [0.0, sy, -y * sy - 0.5]])


def fit_box(box: Box, target: Size, margin: float = 0.0) -> NDArray[np.float64]:
    """The 2x3 map that brings `box`, with `margin` (a share of it) on every side, into the middle of an image of size
    `target`, as large as fits with its aspect kept. The box is that of `crop_affine`."""
    x, y, width, height = box
    scale = min(target[1] / width, target[0] / height) / (1 + 2 * margin)
    wide, high = target[1] / scale, target[0] / scale
    return crop_affine((x + (width - wide) / 2, y + (height - high) / 2, wide, high), target)


def invert_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of 2x3 maps (..., 2, 3). Raises numpy.linalg.LinAlgError where one is singular."""
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -(linear @ affine[..., 2:])], axis=-1)


def apply_affine(affine: Floats, points: Floats) -> Floats:
    """Map points (..., K, 2) by 2x3 matrices (..., 2, 3)."""
    moved = points @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]
    return np.asarray(moved, dtype=np.result_type(points.dtype, np.float32))


def fit_similarity(source: Floats, target: Floats) -> NDArray[np.float64]:
    """The 2x3 map of rotation, scale and shift that takes points (K, 2) nearest to `target` (K, 2), by least squares.

    In complex numbers the map is w = a z + b, and a is the regression of w on z (Umeyama, PAMI 1991, in the plane).
    The zero map where all source points are one.
    """
    z, w = (p @ np.array([1, 1j]) for p in (source, target))
    centred = z - z.mean()
    a = (w * centred.conj()).sum() / max(float((abs(centred) ** 2).sum()), 1e-300)
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
