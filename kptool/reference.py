"""The core's results, computed slowly and obviously in float64: what the fast kernels are tested against.

Every function takes one map, or one point, at a time; nothing here is meant for use on data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.geometry import Size, heatmap_size, to_heatmap

Map = NDArray[np.floating[Any]]
Floats64 = NDArray[np.float64]
Point = tuple[float, float]

REACH = 64
"""Steps from the peak after which a window ends at the latest."""


def render(
    keypoints: NDArray[Any],
    size: Size,
    sigma: float | NDArray[Any] = 2.0,
    *,
    stride: int = 1,
    visibility: NDArray[np.uint8] | None = None,
    window: float | None = 6.0,
) -> Floats64:
    """`kptool.heatmaps.render` in float64, rounded to no other type: (N, K, h, w)."""
    count, points = keypoints.shape[:2]
    height, width = heatmap_size(size, stride)
    maps = np.zeros((count, points, height, width))
    centers = to_heatmap(keypoints.astype(np.float64), stride)
    sigmas = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (points,))
    for n, k in np.ndindex(count, points):
        if visibility is None or visibility[n, k]:
            row, column = (
                gaussian(side, c, float(sigmas[k]), window)
                for side, c in zip((width, height), centers[n, k], strict=True)
            )
            maps[n, k] = np.outer(column, row)
    return maps


def gaussian(count: int, center: float, sigma: float, window: float | None) -> Floats64:
    """exp(-(i - center)^2 / (2 sigma^2)) for i = 0 ... count - 1, and 0 farther than `window` sigmas from the centre."""
    distance = np.arange(count) - center
    values: Floats64 = np.exp(-0.5 * (distance / sigma) ** 2)
    if window is not None:
        values[np.abs(distance) > window * sigma] = 0
    return values


def decode(maps: NDArray[Any], method: str = "gaussian") -> tuple[Floats64, Floats64]:
    """`kptool.heatmaps.decode` in float64: points (N, K, 2) and scores (N, K)."""
    coords, scores = np.zeros((*maps.shape[:2], 2)), np.zeros(maps.shape[:2])
    for n, k in np.ndindex(*maps.shape[:2]):
        one = maps[n, k].astype(np.float64) / (255 if maps.dtype == np.uint8 else 1)
        coords[n, k], scores[n, k] = decode_map(one, method)
    return coords, scores


def decode_map(one: Map, method: str) -> tuple[Point, float]:
    """Point and score of one map (h, w): its centre and 0 if it is flat, nowhere positive, or not finite."""
    height, width = one.shape
    if not np.isfinite(one).all() or one.max() <= 0 or one.min() == one.max():
        return ((width - 1) / 2, (height - 1) / 2), 0.0
    py, px = divmod(int(one.argmax()), width)
    x, y = METHODS[method](one, px, py)
    return (min(max(x, -0.5), width - 0.5), min(max(y, -0.5), height - 0.5)), float(one[py, px])


def argmax(_: Map, px: int, py: int) -> Point:
    """The peak's pixel."""
    return px, py


def weighted_mean(values: Map, x0: int = 0, y0: int = 0) -> Point:
    """The mean of the pixels' positions, weighted with their values; those below zero count as zero."""
    weight = np.maximum(values, 0)
    y, x = np.mgrid[: values.shape[0], : values.shape[1]]
    return x0 + float((weight * x).sum() / weight.sum()), y0 + float((weight * y).sum() / weight.sum())


def centroid_global(one: Map, px: int, py: int) -> Point:
    """The weighted mean over the whole map. Noise and borders pull it to the map's centre."""
    return weighted_mean(one)


def centroid(one: Map, px: int, py: int) -> Point:
    """The weighted mean in a window of two half-widths about the peak, cut by the border evenly on both sides."""
    height, width = one.shape
    left, right, up, down = extent(one, px, py, 0.5)
    rx = min(2 * max(left, right, 1) + 1, px, width - 1 - px)
    ry = min(2 * max(up, down, 1) + 1, py, height - 1 - py)
    return weighted_mean(one[py - ry : py + ry + 1, px - rx : px + rx + 1], px - rx, py - ry)


def extent(one: Map, px: int, py: int, share: float) -> tuple[int, int, int, int]:
    """Steps to the left, right, up and down from the peak that stay at or above `share` of it, and on the map."""
    height, width = one.shape
    found = []
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        steps = 0
        while steps < REACH:
            x, y = px + (steps + 1) * dx, py + (steps + 1) * dy
            if not (0 <= x < width and 0 <= y < height and one[y, x] >= share * one[py, px]):
                break
            steps += 1
        found.append(steps)
    return found[0], found[1], found[2], found[3]


def dark(one: Map, px: int, py: int) -> Point:
    """One Newton step on the map's logarithm at the peak: Zhang et al., CVPR 2020, equations 4 to 8, not smoothed."""
    height, width = one.shape
    if not (2 <= px < width - 2 and 2 <= py < height - 2):
        return px, py
    log = np.log(np.maximum(one[py - 2 : py + 3, px - 2 : px + 3], 1e-10))
    gradient = np.array([0.5 * (log[2, 3] - log[2, 1]), 0.5 * (log[3, 2] - log[1, 2])])
    xx, yy = (0.25 * (a - 2 * log[2, 2] + b) for a, b in ((log[2, 4], log[2, 0]), (log[4, 2], log[0, 2])))
    xy = 0.25 * (log[3, 3] - log[3, 1] - log[1, 3] + log[1, 1])
    if xx >= 0 or xx * yy - xy * xy <= 0:
        return px, py
    step = -np.linalg.solve(np.array([[xx, xy], [xy, yy]]), gradient)
    dx, dy = np.clip(step, -1.5, 1.5)
    return px + float(dx), py + float(dy)


def gaussian_fit(one: Map, px: int, py: int) -> Point:
    """The centre of a Gaussian exp(a + b x + c y + d (x^2 + y^2)), fitted to the window above 15 % of the peak.

    First to the logarithm, weighted by value squared, then by two Gauss-Newton steps to the values themselves. The
    windowed centroid answers where that is no peak within 1.5 pixels of the largest pixel.
    """
    height, width = one.shape
    left, right, up, down = (max(steps, 2) for steps in extent(one, px, py, 0.15))
    y, x = np.mgrid[max(-up, -py) : min(down, height - 1 - py) + 1, max(-left, -px) : min(right, width - 1 - px) + 1]
    v = one[py + y, px + x] / one[py, px]
    terms = np.stack([np.ones(x.shape), x, y, x * x + y * y], axis=-1)
    near = np.abs(x) + np.abs(y) <= 2
    used = (v >= 0.1) | (near & (v > 1e-3))
    fit = least_squares(terms[used], v[used], np.log(v[used]))
    if fit is None:
        return centroid(one, px, py)
    for _ in range(2):
        p = np.asarray(terms @ fit, dtype=np.float64)
        m = np.exp(np.clip(p, -20, 1))
        used = (m > 0.02) | near
        better = least_squares(terms[used], m[used], (p + (v - m) / m)[used])
        if better is None:
            break
        fit = better
    dx, dy = -0.5 * fit[1] / fit[3], -0.5 * fit[2] / fit[3]
    return (px + dx, py + dy) if max(abs(dx), abs(dy)) <= 1.5 else centroid(one, px, py)


def least_squares(terms: Floats64, root_weight: Floats64, target: Floats64) -> Floats64 | None:
    """The weighted least-squares coefficients, where the data determines them and they have a maximum."""
    scaled = terms * root_weight[:, None]
    if len(scaled) < 4 or np.linalg.cond(scaled / np.linalg.norm(scaled, axis=0).clip(1e-300)) > 1e5:
        return None
    fit = np.asarray(np.linalg.lstsq(scaled, target * root_weight, rcond=None)[0], dtype=np.float64)
    return fit if fit[3] < 0 else None


METHODS = {
    "argmax": argmax,
    "centroid": centroid,
    "centroid-global": centroid_global,
    "dark": dark,
    "gaussian": gaussian_fit,
}
