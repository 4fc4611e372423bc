"""Slow float64 reference implementations of the core's functions, against which the fast kernels are tested.

Every function takes one map, or one point, at a time; nothing here is meant for use on real data.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.geometry import Size, heatmap_size, to_heatmap

Map = NDArray[np.floating[Any]]
Floats64 = NDArray[np.float64]
Point = tuple[float, float]

MAX_REACH = 11
"""Steps after which `reach` stops, which limits a fit's window to 35x35 pixels."""
LOG_FLOOR = 0.2
"""Fraction of the peak below which a value's logarithm is not fitted: noise has too much leverage there."""
DARK_FLOOR = 1e-10
MAX_STEP = 1.0
"""Maximum length of a Newton step of `dark` in pixels; steps that start at a Gaussian's largest pixel are shorter."""
LEAST_TOP = -0.01
"""Minimum log height, relative to a flat top, of a Gaussian fitted to its flanks: the top was rounded or saturated."""
ROUNDS = 3
"""Number of row and column passes of `middle_pixel`."""
_PIVOT = 1e-9


def render(
    keypoints: NDArray[Any],
    size: Size,
    sigma: float | NDArray[Any] = 2.0,
    *,
    stride: int = 1,
    visibility: NDArray[np.uint8] | None = None,
    window: float | None = 5.6,
) -> Floats64:
    """`kptool.heatmaps.render` in float64, without rounding to another type: (N, K, h, w)."""
    count, points = keypoints.shape[:2]
    height, width = heatmap_size(size, stride)
    maps = np.zeros((count, points, height, width))
    centers = to_heatmap(keypoints.astype(np.float64), stride)
    sigmas = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (points,))
    for n, k in np.ndindex(count, points):
        if visibility is None or visibility[n, k]:
            x, y = centers[n, k].tolist()
            maps[n, k] = np.outer(
                gaussian(height, y, float(sigmas[k]), window), gaussian(width, x, float(sigmas[k]), window)
            )
    return maps


def gaussian(count: int, center: float, sigma: float, window: float | None) -> Floats64:
    """exp(-(i - center)^2 / (2 sigma^2)) for i = 0 ... count - 1, and 0 beyond `window` sigmas."""
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


def located(one: Map, px: int, py: int, method: str) -> Point:
    """The sub-pixel position of the peak at a pixel."""
    x, y = METHODS[method](one, px, py)
    return min(max(x, -0.5), one.shape[1] - 0.5), min(max(y, -0.5), one.shape[0] - 0.5)


def decode_map(one: Map, method: str) -> tuple[Point, float]:
    """Point and score of one map (h, w): its centre and 0 if it is constant, nowhere positive, or not finite."""
    height, width = one.shape
    if not np.isfinite(one).all() or one.max() <= 0 or one.min() == one.max():
        return ((width - 1) / 2, (height - 1) / 2), 0.0
    py, px = divmod(int(one.argmax()), width)
    return located(one, px, py, method), float(one[py, px])


def argmax(_: Map, px: int, py: int) -> Point:
    """The peak's pixel: the first in reading order if several are equally high."""
    return px, py


def run(line: Map, at: int) -> tuple[int, int]:
    """The first and the last index of the run of values in a line that contains `at` and equals it."""
    first = last = at
    while first > 0 and line[first - 1] == line[at]:
        first -= 1
    while last < len(line) - 1 and line[last + 1] == line[at]:
        last += 1
    return first, last


def middle_pixel(one: Map, px: int, py: int) -> tuple[int, int]:
    """The pixel in the middle of the flat top that contains the peak, as in saturated maps.

    Moving alternately to the middle of the row and of the column of equal pixels reaches the centre of a disc or a
    rectangle immediately. The peak itself if no neighbour is as high; of two separate equal peaks, the first.
    """
    for _ in range(ROUNDS):
        px = sum(run(one[py], px)) // 2
        py = sum(run(one[:, px], py)) // 2
    return px, py


def middle(one: Map, px: int, py: int) -> Point:
    """The mean position of the pixels as high as a `middle_pixel`, in the rectangle spanned by its row and column."""
    (x0, x1), (y0, y1) = run(one[py], px), run(one[:, px], py)
    y, x = np.nonzero(one[y0 : y1 + 1, x0 : x1 + 1] == one[py, px])
    return x0 + float(x.mean()), y0 + float(y.mean())


def is_flat(one: Map, px: int, py: int) -> bool:
    """Whether no direct neighbour of this pixel is lower, so that the peak is saturated."""
    height, width = one.shape
    beside = ((px + 1, py), (px - 1, py), (px, py + 1), (px, py - 1))
    return all(one[y, x] == one[py, px] for x, y in beside if 0 <= x < width and 0 <= y < height)


def weighted_mean(values: Map, x0: int = 0, y0: int = 0) -> Point:
    """The mean pixel position, weighted by value; negative values count as zero."""
    weight = np.maximum(values, 0)
    y, x = np.mgrid[: values.shape[0], : values.shape[1]]
    return x0 + float((weight * x).sum() / weight.sum()), y0 + float((weight * y).sum() / weight.sum())


def centroid_global(one: Map, px: int, py: int) -> Point:
    """The weighted mean over the whole map. Noise and borders bias it towards the map's centre."""
    return weighted_mean(one)


def centroid(one: Map, px: int, py: int) -> Point:
    """The weighted mean in a window around the peak's `middle_pixel`, which shrinks symmetrically at a border."""
    px, py = middle_pixel(one, px, py)
    height, width = one.shape
    side = 2 * reach(one, px, py)
    rx, ry = min(side, px, width - 1 - px), min(side, py, height - 1 - py)
    return weighted_mean(one[py - ry : py + ry + 1, px - rx : px + rx + 1], px - rx, py - ry)


def reach(one: Map, px: int, py: int) -> int:
    """The largest distance, over four directions, from the peak to the first pixel below half of it or outside."""
    height, width = one.shape
    longest = 0
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        steps = 1
        while (
            steps < MAX_REACH
            and 0 <= px + steps * dx < width
            and 0 <= py + steps * dy < height
            and one[py + steps * dy, px + steps * dx] >= 0.5 * one[py, px]
        ):
            steps += 1
        longest = max(longest, steps)
    return longest


def dark(one: Map, px: int, py: int) -> Point:
    """One Newton step on the map's logarithm at the peak's `middle_pixel`, of at most MAX_STEP.

    The finite differences are the authors'; their smoothing is left out. No step is taken within two pixels of a
    border, or if the Hessian is not negative definite. If a neighbour is as high, differences over one pixel do not
    locate the middle: along that axis, and if there is no step, the result is the flat top's `middle`.

    Reference: Zhang et al., Distribution-aware coordinate representation for human pose estimation, CVPR 2020.
    """
    px, py = middle_pixel(one, px, py)
    x, y = middle(one, px, py)
    (x0, x1), (y0, y1) = run(one[py], px), run(one[:, px], py)
    step = newton(one, px, py)
    if step is None:
        return x, y
    shorter = MAX_STEP / max(MAX_STEP, math.hypot(*step))
    x = x if x0 < x1 else px + shorter * step[0]
    y = y if y0 < y1 else py + shorter * step[1]
    return x, y


def newton(one: Map, px: int, py: int) -> Point | None:
    """The step -H^-1 g from a pixel on the map's logarithm; None if `dark` takes none."""
    height, width = one.shape
    if not (2 <= px < width - 2 and 2 <= py < height - 2):
        return None
    log = np.log(np.maximum(one[py - 2 : py + 3, px - 2 : px + 3], DARK_FLOOR))
    dx, dy = 0.5 * (log[2, 3] - log[2, 1]), 0.5 * (log[3, 2] - log[1, 2])
    dxx = 0.25 * (log[2, 4] - 2 * log[2, 2] + log[2, 0])
    dyy = 0.25 * (log[4, 2] - 2 * log[2, 2] + log[0, 2])
    dxy = 0.25 * (log[3, 3] - log[1, 3] - log[3, 1] + log[1, 1])
    det = dxx * dyy - dxy * dxy
    if dxx >= 0 or det <= 0:
        return None
    return -(dyy * dx - dxy * dy) / det, -(dxx * dy - dxy * dx) / det


def gaussian_fit(one: Map, px: int, py: int) -> Point:
    """The centre of a least-squares Gaussian fit to a window around the peak's `middle_pixel`.

    log v = a + b x + c y + d (x^2 + y^2), in units of `reach` from that pixel, has its peak at -(b, c) / 2d. Step 1 is
    a linear fit of the logarithms of values above LOG_FLOOR or within two steps, weighted by v^2, because noise of
    constant size in v is noise of size 1/v in log v. Step 2 is one Gauss-Newton step on the values themselves, over the
    whole window. Symmetric blobs of other shapes keep their centre, borders only remove pixels, and sigma need not be
    known. For a saturated peak (`is_flat`) only the flanks are fitted, see `flank_fit`; if no Gaussian fits, the result
    is the `middle`.

    Reference: Guo, A simple algorithm for fitting a Gaussian function, IEEE Signal Processing Magazine, 2011.
    """
    px, py = middle_pixel(one, px, py)
    height, width = one.shape
    unit = reach(one, px, py)
    side = (3 * unit + 1) // 2
    y0, y1, x0, x1 = (
        max(py - side, 0),
        min(py + side + 1, height),
        max(px - side, 0),
        min(px + side + 1, width),
    )
    v, high = one[y0:y1, x0:x1] / one[py, px], one[y0:y1, x0:x1] > LOG_FLOOR * one[py, px]
    y, x = (np.mgrid[y0:y1, x0:x1] - np.array([py, px])[:, None, None]) / unit
    terms = np.stack([np.ones_like(x), x, y, x * x + y * y], axis=-1)
    if is_flat(one, px, py):
        return flank_fit(one, px, py, unit, fit_logarithms(terms, v, high & (v < 1)))
    near = np.abs(x) + np.abs(y) < 2.5 / unit
    fit = fit_logarithms(terms, v, high | (near & (v > DARK_FLOOR)))
    if not peaked(fit):
        return middle(one, px, py)
    model = np.exp(terms @ fit)
    better = fit + solve(
        np.einsum("yxi,yxj,yx->ij", terms, terms, model**2),
        np.einsum("yxi,yx->i", terms, model * (v - model)),
    )
    _, b, c, d = better if peaked(better) else fit
    return px - unit * b / (2 * d), py - unit * c / (2 * d)


def fit_logarithms(terms: Floats64, v: Map, used: NDArray[np.bool_]) -> Floats64:
    """a, b, c, d of `gaussian_fit` from the `used` values of (h, w), with terms (h, w, 4) at each."""
    weighted = terms[used] * v[used][:, None] ** 2
    return solve(weighted.T @ terms[used], weighted.T @ np.log(v[used]))


def flank_fit(one: Map, px: int, py: int, unit: int, fit: Floats64) -> Point:
    """The centre of a Gaussian fitted to a flat top's flanks alone, clamped to the rectangle spanned by the top.

    The `middle` if the fit has no maximum, or is lower than the top, which then is not part of it.
    """
    a, b, c, d = fit
    if not peaked(fit) or a < LEAST_TOP:
        return middle(one, px, py)
    (x0, x1), (y0, y1) = run(one[py], px), run(one[:, px], py)
    x, y = px - unit * b / (2 * d), py - unit * c / (2 * d)
    return min(max(x, x0 - 0.5), x1 + 0.5), min(max(y, y0 - 0.5), y1 + 0.5)


def peaked(fit: Floats64) -> bool:
    """Whether a fit has a maximum at most one `reach` from the peak along each axis, and at most e^4 times as high."""
    a, b, c, d = fit
    return bool(d < 0 and max(abs(b), abs(c)) <= -2 * d and a - (b * b + c * c) / (4 * d) <= 4)


def solve(matrix: Floats64, right: Floats64) -> Floats64:
    """Solve a symmetric system by elimination; an unknown that the data do not determine becomes 0."""
    matrix, right, size = matrix.copy(), right.copy(), len(right)
    diagonal = matrix.diagonal().copy()
    used = np.zeros(size, dtype=bool)
    for i in range(size):
        used[i] = matrix[i, i] > _PIVOT * diagonal[i]
        for j in range(i + 1, size) if used[i] else ():
            factor = matrix[j, i] / matrix[i, i]
            matrix[j] -= factor * matrix[i]
            right[j] -= factor * right[i]
    solution = np.zeros(size)
    for i in reversed(range(size)):
        if used[i]:
            solution[i] = (right[i] - matrix[i, i + 1 :] @ solution[i + 1 :]) / matrix[i, i]
    return solution


METHODS = {
    "argmax": argmax,
    "centroid": centroid,
    "centroid-global": centroid_global,
    "dark": dark,
    "gaussian": gaussian_fit,
}
