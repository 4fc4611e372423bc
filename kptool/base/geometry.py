"""The coordinate convention, and the only place that adds or subtracts half pixels.

A point is ``(x, y)``: x to the right, y down, in pixels. A size is ``(H, W)``. An integer coordinate is the
*centre* of a pixel, so an image of width W covers ``-0.5 <= x <= W - 0.5``, and resizing maps edges to edges:

    x_heatmap = (x + 0.5) / stride - 0.5        x = (x_heatmap + 0.5) * stride - 0.5

Left and right are the subject's: mirroring an image turns the left eye into the right one, so a flip also
swaps the flip pairs. An affine map is a 2x3 matrix ``A`` with ``p' = A[:, :2] @ p + A[:, 2]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int]
Box = tuple[float, float, float, float]
"""(x, y, width, height) in pixels; x and y are the left and the top *edge*, so a whole image is (-0.5, -0.5, W, H)."""
Floats = NDArray[np.floating[Any]]
Coordinates = TypeVar("Coordinates", float, Floats, "Tensor")
"""A number, an array or a tensor of coordinates: the conversions work element by element on each."""


def to_heatmap(points: Coordinates, stride: float) -> Coordinates:
    """Image pixels -> heatmap pixels."""
    return (points + 0.5) / stride - 0.5


def from_heatmap(points: Coordinates, stride: float) -> Coordinates:
    """Heatmap pixels -> image pixels; the inverse of `to_heatmap`."""
    return (points + 0.5) * stride - 0.5


def to_edges(points: Coordinates) -> Coordinates:
    """Pixels -> the coordinates of formats that measure from the image's edge, where the first pixel's centre is 0.5."""
    return points + 0.5


def from_edges(points: Coordinates) -> Coordinates:
    """Coordinates measured from the image's edge -> pixels; the inverse of `to_edges`."""
    return points - 0.5


def box_from_edges(x: float, y: float, width: float, height: float) -> Box:
    """The box whose left and top edges are x and y pixels from those of the image."""
    return x - 0.5, y - 0.5, width, height


def pixel_edges(points: Floats) -> tuple[Floats, Floats]:
    """The low and high edges of the pixels that have `points` as their centres, each of the shape of `points`."""
    return points - 0.5, points + 0.5


def image_box(size: Size) -> Box:
    """The box (x, y, width, height) of a whole image of `size`."""
    return (-0.5, -0.5, float(size[1]), float(size[0]))


def heatmap_size(size: Size, stride: int) -> Size:
    """(H, W) of the heatmaps of an image of `size`, rounded up so that they cover every pixel."""
    return -(-size[0] // stride), -(-size[1] // stride)


def swap_order(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The permutation of `count` keypoints that swaps the flip pairs: ``flipped[k] = original[order[k]]``."""
    order = list(range(count))
    for a, b in pairs:
        order[a], order[b] = b, a
    return order


def flip_points(points: Floats, width: int, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Mirror points (..., K, 2) of an image `width` pixels wide and swap the flip pairs; returns a copy."""
    flipped = points[..., swap_order(points.shape[-2], pairs), :].copy()
    flipped[..., 0] = (width - 1) - flipped[..., 0]
    return flipped


def scale_affine(source: Size, target: Size) -> NDArray[np.float64]:
    """The 2x3 map from pixels of an image of size `source` to the same image resized to `target`."""
    sy, sx = target[0] / source[0], target[1] / source[1]
    return np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5]])


def crop_affine(box: Box, target: Size) -> NDArray[np.float64]:
    """The 2x3 map that takes `box` to a whole image of size `target`.

    The aspect ratio changes unless the box has that of `target`.
    """
    x, y, width, height = box
    sx, sy = target[1] / width, target[0] / height
    return np.array([[sx, 0.0, -x * sx - 0.5], [0.0, sy, -y * sy - 0.5]])


def fit_box(box: Box, target: Size, margin: float = 0.0) -> NDArray[np.float64]:
    """The 2x3 map that centres `box` in an image of size `target`, as large as fits with its aspect ratio kept.

    `margin` is the space left on each side of the box, as a fraction of the box's width and height.
    """
    x, y, width, height = box
    scale = min(target[1] / width, target[0] / height) / (1 + 2 * margin)
    wide, high = target[1] / scale, target[0] / scale
    return crop_affine((x + (width - wide) / 2, y + (height - high) / 2, wide, high), target)


def invert_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverses of affine maps (..., 2, 3). Raises numpy.linalg.LinAlgError if one is singular."""
    if affine.ndim == 2:  # in a seventh of the time
        (a, b, x), (c, d, y) = affine.tolist()
        if (det := a * d - b * c) == 0:
            raise np.linalg.LinAlgError("Singular matrix")
        a, b, c, d = d / det, -b / det, -c / det, a / det
        return np.array([[a, b, -(a * x + b * y)], [c, d, -(c * x + d * y)]])
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -(linear @ affine[..., 2:])], axis=-1)


def apply_affine(affine: Floats, points: Floats) -> Floats:
    """Apply affine maps (..., 2, 3) to points (..., K, 2). The result has the points' dtype, float32 or wider."""
    moved = points @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]
    return np.asarray(moved, dtype=np.result_type(points.dtype, np.float32))


def fit_similarity(source: Floats, target: Floats) -> NDArray[np.float64]:
    """The similarity (rotation, uniform scale, translation) that maps `source` (K, 2) to `target` (K, 2), as a 2x3 map.

    Least squares (Umeyama, PAMI 1991). In complex numbers the map is w = a z + b, so a is the regression slope of w on
    z. If all source points coincide, the scale is 0 and everything maps to the mean of `target`.
    """
    z, w = (np.ascontiguousarray(p, np.float64).view(np.complex128)[:, 0] for p in (source, target))
    middle = z.mean()
    centred = z - middle
    a = np.vdot(centred, w) / max(float(np.vdot(centred, centred).real), 1e-300)
    b = w.mean() - a * middle
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def stretches(linear: NDArray[np.float64]) -> tuple[Floats, Floats, Floats]:
    """What linear maps (..., 2, 2) make of a circle of radius 1: its longer and shorter semi-axis, and the longer one's angle
    in radians, above -pi / 2 and at most pi / 2. They are the singular values, and the first left singular vector's direction.

    In complex numbers, the map is z -> p z + q conj(z), which is longest where both terms have the same argument.
    """
    (a, b), (c, d) = (linear[..., 0, 0], linear[..., 0, 1]), (linear[..., 1, 0], linear[..., 1, 1])
    p, q = ((a + d) + 1j * (c - b)) / 2, ((a - d) + 1j * (c + b)) / 2
    angle = (np.angle(p) + np.angle(q)) / 2
    half = np.where(angle > np.pi / 2, angle - np.pi, np.where(angle <= -np.pi / 2, angle + np.pi, angle))
    return abs(p) + abs(q), abs(abs(p) - abs(q)), half
