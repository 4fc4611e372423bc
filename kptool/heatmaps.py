"""Rendering and decoding heatmaps: the validated face of the C++ core.

Coordinates follow `kptool.geometry`: an integer is a pixel's centre. A Gaussian's peak is 1 (255 in uint8), and

    v(x, y) = exp(-((x - cx)^2 + (y - cy)^2) / (2 sigma^2)),    (cx, cy) = (keypoint + 0.5) / stride - 0.5
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kptool import _core
from kptool.errors import ConfigError, DataError
from kptool.geometry import Size, heatmap_size, to_heatmap

Dtype = Literal["float32", "float16", "uint8"]
Heatmaps = NDArray[Any]

DTYPES = ("float32", "float16", "uint8")
METHODS = ("argmax", "centroid", "centroid-global", "dark", "gaussian")
WINDOW = 6.0
"""Half-width of what is drawn, in sigmas: beyond it a Gaussian is below 2e-8, less than float32 can add to 1."""


def render(
    keypoints: ArrayLike,
    size: Size,
    sigma: ArrayLike = 2.0,
    *,
    stride: int = 1,
    visibility: ArrayLike | None = None,
    dtype: str = "float32",
    out: Heatmaps | None = None,
    threads: int = 0,
    window: float | None = WINDOW,
) -> Heatmaps:
    """Draw keypoints as Gaussian heatmaps.

    keypoints: (N, K, 2), x and y in image pixels; they may lie outside of the image. size: (H, W) of the image.
    sigma: standard deviation in heatmap pixels, one number or (K,). stride: image pixels per heatmap pixel.
    visibility: (N, K), 0 gives a map of zeros. dtype: float32, float16 or uint8 (255 is 1). out: an array to write
    into, of exactly the result's shape and dtype, C-contiguous and writable. threads: 0 uses all processors; the
    result does not depend on it. window: how many sigmas to draw on each side; None draws all of the map.

    Returns (N, K, h, w), where (h, w) = `geometry.heatmap_size(size, stride)`: `out` where given. float32 values are
    within 2e-7 of exact ones.

    Raises DataError for keypoints that are no finite (N, K, 2) array, or an `out` that does not fit; ConfigError for
    settings out of range.
    """
    centres, visible, sigmas, shape = _prepare(keypoints, size, sigma, stride, visibility, window)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
    result = np.empty(shape, dtype=dtype) if out is None else _check_out(out, shape)
    _core.render_into(centres, visible, sigmas, _reach(window), result, _threads(threads))
    return result


class Renderer:
    """Renders many batches of one shape into one buffer, touching only what changes: the last patches and the new.

    The array that `render` returns is the renderer's own, and the next call draws over it; it must not be changed in
    between. One thread at a time may use a renderer. Arguments are those of `render`.
    """

    def __init__(
        self,
        samples: int,
        keypoints: int,
        size: Size,
        sigma: ArrayLike = 2.0,
        *,
        stride: int = 1,
        dtype: Dtype = "float32",
        threads: int = 0,
        window: float | None = WINDOW,
    ) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
        self._size, self._sigma, self._stride = size, sigma, stride
        self._window, self._threads = window, _threads(threads)
        self._maps: Heatmaps = np.zeros((samples, keypoints, *heatmap_size(size, stride)), dtype=dtype)
        self._patches = _core.Patches()

    def render(self, keypoints: ArrayLike, visibility: ArrayLike | None = None) -> Heatmaps:
        """Draw (n, K, 2) keypoints, n at most the renderer's samples; returns (n, K, h, w), valid until the next call."""
        points = np.asarray(keypoints)
        n, total = (len(points) if points.ndim else -1), len(self._maps)
        if not 0 <= n <= total or points.shape[1:] != (self._maps.shape[1], 2):
            expected = f"(up to {total}, {self._maps.shape[1]}, 2)"
            raise DataError(f"keypoints must be {expected} for this renderer; got {points.shape}")
        centres, visible, sigmas, _ = _prepare(points, self._size, self._sigma, self._stride, visibility, self._window)
        if n < total:
            centres = np.concatenate([centres, np.zeros((total - n, *centres.shape[1:]))])
            visible = np.concatenate([visible, np.zeros((total - n, visible.shape[1]), dtype=np.uint8)])
        self._patches.redraw_into(centres, visible, sigmas, _reach(self._window), self._maps, self._threads)
        return self._maps[:n]


def decode(
    heatmaps: Heatmaps, method: str = "gaussian", *, threads: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Find the peak of every heatmap.

    heatmaps: (N, K, h, w), float32, float16 or uint8 (read as value / 255). method, always about the largest pixel:

    - ``argmax``: that pixel itself.
    - ``centroid``: the mean position weighted by value in a window about it, 2 half-widths to each side.
    - ``centroid-global``: the same over the whole map; simple, and biased by noise and borders.
    - ``dark``: a Newton step on the log of the map (Zhang et al., CVPR 2020, equations 4 to 8).
    - ``gaussian``: a Gaussian fitted by least squares to the window above 15 % of the peak, also one-sided at a border.

    Returns points (N, K, 2), float32, x and y in heatmap pixels (`geometry.from_heatmap` gives image pixels), within
    half a pixel of the map; and scores (N, K), float32, the largest value. A map without a peak - flat, nowhere
    positive, or with a NaN or an infinity in it - gets its centre and score 0. Of equal peaks the first counts.

    Raises DataError for anything but such an array, ConfigError for an unknown method.
    """
    maps = np.asarray(heatmaps)
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if maps.ndim != 4 or maps.dtype.name not in DTYPES or (maps.size == 0 and maps.shape[0] * maps.shape[1]):
        raise DataError(f"heatmaps must be float32, float16 or uint8 (N, K, h, w); got {maps.dtype} {maps.shape}")
    return _core.decode(np.require(maps, maps.dtype.newbyteorder("="), ["C", "A"]), method, _threads(threads))


def _prepare(
    keypoints: ArrayLike, size: Size, sigma: ArrayLike, stride: int, visibility: ArrayLike | None, window: float | None
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64], tuple[int, int, int, int]]:
    """Arguments as the core wants them: centres, visible and sigma, and the shape of the result."""
    points = np.asarray(keypoints, dtype=np.float64)
    if points.ndim != 3 or points.shape[2] != 2:
        raise DataError(f"keypoints must be (N, K, 2); got {points.shape}")
    if not np.isfinite(points).all():
        n, k, _ = np.argwhere(~np.isfinite(points))[0]
        raise DataError(f"keypoint {k} of sample {n} is {points[n, k].tolist()}; give it a position and visibility 0")
    if len(size) != 2 or min(size) < 1 or stride < 1:
        raise ConfigError(f"size must be (H, W) and stride whole and positive; got {size} and {stride}")
    count = points.shape[1]
    sigmas = np.atleast_1d(np.asarray(sigma, dtype=np.float64))
    if sigmas.shape not in ((1,), (count,)) or not (np.isfinite(sigmas) & (sigmas > 0)).all():
        raise ConfigError(f"sigma must be a positive number, or {count} of them; got {sigma!r}")
    if window is not None and not (window > 0 and math.isfinite(window)):
        raise ConfigError(f"window must be a positive number of sigmas, or None; got {window}")
    visible = np.ones(points.shape[:2], dtype=np.uint8)
    if visibility is not None:
        given = np.asarray(visibility)
        if given.shape != points.shape[:2]:
            raise DataError(f"visibility must be {points.shape[:2]} like the keypoints; got {given.shape}")
        visible = np.ascontiguousarray(given != 0).view(np.uint8)
    shape = (*points.shape[:2], *heatmap_size(size, stride))
    return np.ascontiguousarray(to_heatmap(points, stride)), visible, sigmas, shape


def _check_out(out: Heatmaps, shape: tuple[int, ...]) -> Heatmaps:
    """`out` itself, if it can be written as it is. Never a copy."""
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype.name not in DTYPES:
        what = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise DataError(f"out must be an array {shape} of float32, float16 or uint8; got {what}")
    if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned and out.dtype.isnative):
        raise DataError("out must be C-contiguous, writable, aligned and in native byte order")
    return out


def _reach(window: float | None) -> float:
    return math.inf if window is None else float(window)


def _threads(threads: int) -> int:
    if threads < 0:
        raise ConfigError(f"threads must be 0 (all processors) or more; got {threads}")
    return threads
