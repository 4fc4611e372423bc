"""Rendering keypoints as heatmaps and decoding them: the C++ core behind checked arguments.

A heatmap holds exp(-r^2 / (2 sigma^2)) at distance r from its keypoint, so its peak is 1 (255 in uint8). r and sigma are
in heatmap pixels; `kptool.base.geometry` converts between these and image pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kptool import _core
from kptool.base.errors import ConfigError, DataError
from kptool.base.geometry import Size, heatmap_size, to_heatmap

DTYPES: tuple[str, ...] = ("float32", "float16", "uint8")
METHODS: tuple[str, ...] = _core.METHODS
PEAK_METHODS: tuple[str, ...] = tuple(name for name in METHODS if name != "centroid-global")
SIGMA_RANGE = (0.1, 1000.0)
MAX_SIDE = 1 << 16


def render(
    keypoints: NDArray[Any],
    size: Size,
    sigma: ArrayLike = 2.0,
    *,
    stride: int = 1,
    visibility: NDArray[Any] | None = None,
    dtype: str = "float32",
    out: NDArray[Any] | None = None,
    threads: int = 0,
    window: float | None = 5.6,
) -> NDArray[Any]:
    """Render a Gaussian for every keypoint.

    keypoints (N, K, 2): finite x, y in image pixels; a keypoint far outside leaves its map empty. Or (N, M, K, 2), those of
        M instances in each image: every pixel is the largest value of any of them.
    size: (H, W) of the image; the maps are (ceil(H / stride), ceil(W / stride)).
    sigma: a number or (K,), 0.1 to 1000 heatmap pixels.
    visibility (N, K) or (N, M, K): 0 is not rendered, which leaves a map without any other all zero; None renders all.
    dtype: float32 (within 2e-7 of the exact value), float16 or uint8 (255 is 1), both rounded to nearest.
    out (N, K, h, w): a C-contiguous, writable array of `dtype` to render into.
    threads: the largest number of threads; 0 is as many as the process may use. The result does not depend on it.
    window: in sigmas along each axis; values farther out, below 2e-7 at the default 5.6, are zero. None: no limit.

    Returns heatmaps (N, K, h, w), `out` where it was given. The memory of large results is reused after they are
    freed: up to two blocks, of at most 2 GiB together, are kept for later calls; `clear_pool` releases them.
    Raises DataError for keypoints or visibility, ConfigError for any other argument.
    """
    several = np.ndim(keypoints) == 4
    points = _checked_points(keypoints, several)
    flags = _checked_visibility(visibility, points.shape[:-1])
    count = points.shape[-2]
    maps = _checked_out(out, (len(points), count, *_checked_size(size, stride)), dtype)
    _core.render(
        _centers(points, stride),
        _checked_sigma(sigma, count),
        flags,
        _checked_window(window),
        maps,
        _checked_threads(threads),
    )
    return maps


class Renderer:
    """Renders repeatedly into one array, erasing only the windows of the previous call.

    That writes to a small part of maps much wider than sigma, and is faster where the maps exceed the CPU's caches.

    count, keypoints: N and K; the other arguments and the errors raised are those of `render`.

    >>> draw = Renderer(64, 15, (96, 96))
    >>> maps = draw(points)  # (64, 15, 96, 96), float32
    """

    def __init__(
        self,
        count: int,
        keypoints: int,
        size: Size,
        sigma: ArrayLike = 2.0,
        *,
        stride: int = 1,
        dtype: str = "float32",
        threads: int = 0,
        window: float | None = 5.6,
    ) -> None:
        side = _checked_size(size, stride)
        self.heatmaps = _checked_out(None, (count, keypoints, *side), dtype)
        self.heatmaps.fill(0)
        self._stride = stride
        self._sigma = _checked_sigma(sigma, keypoints)
        self._window = _checked_window(window)
        self._threads = _checked_threads(threads)
        self._canvas = _core.Canvas(self.heatmaps)

    def __call__(self, keypoints: NDArray[Any], visibility: NDArray[Any] | None = None) -> NDArray[Any]:
        """Heatmaps (n, K, h, w) of keypoints (n, K, 2), n at most N.

        It is always the same array, or its beginning: do not write to it, and copy what must survive the next call.
        """
        points = _checked_points(keypoints)
        count, expected = len(points), self.heatmaps.shape[:2]
        if points.shape[1] != expected[1] or count > expected[0]:
            raise DataError(
                f"keypoints have shape {points.shape}, expected at most {(*expected, 2)}; make another Renderer"
            )
        flags = _checked_visibility(visibility, points.shape[:2])
        if count < expected[0]:  # maps of absent keypoints are erased
            drawn = np.ones(points.shape[:2], np.uint8) if flags is None else flags
            flags, points = _padded(drawn, expected[0]), _padded(points, expected[0])
        self._canvas.draw(_centers(points, self._stride), self._sigma, flags, self._window, self._threads)
        return self.heatmaps[:count]


def decode(
    heatmaps: NDArray[Any], method: str = "gaussian", *, threads: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Locate the keypoint in every heatmap.

    heatmaps (N, K, h, w): float32, float16, or uint8 (255 is 1), peak about 1.
    method: "argmax", the largest pixel, and of several the first in row-major order; "centroid", the weighted
        mean in a window around it; "centroid-global", the weighted mean of the whole map, which noise and borders
        bias; "dark", a Newton step of at most one pixel on the logarithm; "gaussian", the Gaussian of any width
        that best fits a window around the peak: the most precise, also for keypoints at or just beyond a border.
        All but "argmax" treat a flat top, adjacent pixels of the same largest value as in maps clipped at 1 or
        255, as one peak: windows are centred on its middle, "gaussian" fits its flanks, and without flanks
        "gaussian" and "dark" return the middle. Of separate equal peaks, the first in row-major order.
    threads: as in `render`.

    Returns (coords, scores): coords (N, K, 2) float32, x and y in heatmap pixels, from -0.5 to w - 0.5 or h - 0.5,
    the map's edges; scores (N, K) float32, the largest value of each map. A map that is constant, nowhere positive,
    or holds NaN or infinity gives its centre and score 0.
    Raises DataError for heatmaps, ConfigError for any other argument.
    Reference: `tests/reference.py` implements every method in NumPy and cites its source.
    """
    if method not in METHODS:
        raise ConfigError(f"no decoding method {method!r}; choose one of {', '.join(METHODS)}")
    return _core.decode(_checked_maps(heatmaps), method, _checked_threads(threads))


def find_peaks(
    heatmaps: NDArray[Any],
    threshold: float = 0.3,
    min_distance: int = 2,
    max_count: int = 100,
    *,
    method: str = "gaussian",
    threads: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Locate every peak in heatmaps that show any number of objects.

    A peak is a pixel, or a flat top of 4-connected pixels of the same value, that is at least `threshold` and has no
    higher pixel within `min_distance` of it along both axes. Pixels outside the map count for nothing, so there may be
    peaks at its border. Of several equally high peaks whose middle pixels lie within `min_distance` of each other, the
    first in row-major order is returned.

    heatmaps (N, K, h, w): float32, float16, or uint8 (255 is 1).
    threshold: above 0; at most 1 for uint8.
    min_distance: 1 to 65536 heatmap pixels.
    max_count: the largest number of peaks per map; the highest are returned.
    method: how a peak is located between pixels, as in `decode`, except "centroid-global". The windows of "centroid"
        and "gaussian" also cover what is nearby: they are accurate for peaks that are six sigma apart.
    threads: as in `render`.

    Returns (coords, scores, counts), where coords (N, K, max_count, 2) and scores (N, K, max_count), float32, are sorted
    from the highest peak to the lowest, ties in row-major order, and zero after the last; counts (N, K), int64, are the
    numbers of peaks. A map that is constant, or holds NaN or infinity, has none.
    Raises DataError for heatmaps, ConfigError for any other argument.
    Reference: `tests/reference_peaks.py` implements the definition in NumPy.
    """
    maps = _checked_maps(heatmaps)
    check_peak_search(threshold, min_distance, max_count, method, 1.0 if maps.dtype == np.uint8 else 1e30)
    return _core.find_peaks(
        maps, float(threshold), int(min_distance), int(max_count), method, _checked_threads(threads)
    )


def check_peak_search(threshold: float, min_distance: int, max_count: int, method: str, highest: float = 1e30) -> None:
    """Raise ConfigError for arguments that `find_peaks` does not take, where `highest` is the largest threshold."""
    if method not in PEAK_METHODS:
        raise ConfigError(f"no method {method!r} to locate a peak; choose one of {', '.join(PEAK_METHODS)}")
    if not 0 < threshold <= highest:
        raise ConfigError(f"threshold is {threshold!r}, expected above 0 and at most {highest:g}; 0.3 is usual")
    for name, value in (("min_distance", min_distance), ("max_count", max_count)):
        if not isinstance(value, int | np.integer) or not 1 <= value <= MAX_SIDE:
            raise ConfigError(f"{name} is {value!r}, expected a whole number from 1 to {MAX_SIDE}")


def clear_pool() -> None:
    """Release the memory that is kept for later calls of `render`."""
    _core.clear_pool()


def _checked_maps(heatmaps: NDArray[Any]) -> NDArray[Any]:
    maps = np.asarray(heatmaps)
    if maps.dtype.name not in DTYPES:
        raise DataError(f"heatmaps have dtype {maps.dtype}, expected {', '.join(DTYPES)}; convert them with astype")
    if maps.ndim != 4 or 0 in maps.shape[2:]:
        raise DataError(f"heatmaps have shape {maps.shape}, expected (N, K, h, w), h and w of 1 or more; reshape them")
    return np.require(maps, dtype=maps.dtype.newbyteorder("="), requirements=("C", "A"))


def _checked_points(keypoints: NDArray[Any], several: bool = False) -> NDArray[np.float64]:
    points = np.asarray(keypoints)
    if points.ndim != 3 + several or points.shape[-1] != 2:
        raise DataError(f"keypoints have shape {points.shape}, expected (N, K, 2) of x, y; reshape them")
    if points.dtype.kind not in "fiu":
        raise DataError(f"keypoints have dtype {points.dtype}, expected numbers; convert them with astype")
    points = np.ascontiguousarray(points, dtype=np.float64)
    if not np.isfinite(points).all():
        *sample, k = np.argwhere(~np.isfinite(points))[0, :-1].tolist()
        x, y = points[*sample, k]
        where = f"{sample[0]}, instance {sample[1]}," if several else f"{sample[0]}"
        raise DataError(
            f"keypoint {k} of sample {where} is ({x}, {y}), expected finite numbers; set it and visibility to 0"
        )
    return points


def _padded(array: NDArray[Any], count: int) -> NDArray[Any]:
    return np.concatenate([array, np.zeros((count - len(array), *array.shape[1:]), array.dtype)])


def _centers(points: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    return np.ascontiguousarray(to_heatmap(points, stride), dtype=np.float64)


def _checked_size(size: Size, stride: int) -> Size:
    if not isinstance(stride, int | np.integer) or stride < 1:
        raise ConfigError(
            f"stride is {stride!r}, expected a whole number of 1 or more; 1 renders at the image's resolution"
        )
    if len(size) != 2 or not all(isinstance(side, int | np.integer) and 1 <= side <= MAX_SIDE for side in size):
        raise ConfigError(
            f"size is {size!r}, expected (H, W) of 1 to {MAX_SIDE} pixels; give the image's height and width"
        )
    return heatmap_size((int(size[0]), int(size[1])), int(stride))


def _checked_sigma(sigma: ArrayLike, keypoints: int) -> NDArray[np.float64]:
    values = np.asarray(sigma, dtype=np.float64)
    low, high = SIGMA_RANGE
    if values.shape not in ((), (keypoints,)):
        raise ConfigError(f"sigma has shape {values.shape}, expected a number or ({keypoints},); give one per keypoint")
    every = np.full(keypoints, values)
    if not all(low <= value <= high for value in every.tolist()):
        raise ConfigError(f"sigma is {sigma!r}, expected {low:g} to {high:g} heatmap pixels; 2 is usual")
    return every


def _checked_visibility(visibility: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    if visibility is None:
        return None
    flags = np.asarray(visibility)
    if flags.shape != shape or flags.dtype.kind not in "biu":
        what = f"visibility is {flags.dtype} of shape {flags.shape}"
        raise DataError(f"{what}, expected whole numbers of shape {shape}; 0 is unlabelled")
    return np.ascontiguousarray(flags != 0).view(np.uint8)


def _checked_window(window: float | None) -> float:
    if window is None:
        return np.inf
    if not window > 0:
        raise ConfigError(
            f"window is {window!r}, expected more than 0 sigmas, or None for no limit; 5.6 loses less than 2e-7"
        )
    return float(window)


def _checked_threads(threads: int) -> int:
    if not isinstance(threads, int | np.integer) or threads < 0:
        raise ConfigError(f"threads is {threads!r}, expected a whole number; 0 uses all that the process may use")
    return min(int(threads), 1 << 20)


def _checked_out(out: NDArray[Any] | None, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}, expected one of {', '.join(DTYPES)}; uint8 is the smallest")
    if out is None:
        return _core.empty(shape, np.dtype(name))
    fits = isinstance(out, np.ndarray) and out.shape == shape and out.dtype == np.dtype(name) and out.dtype.isnative
    if not (fits and out.flags.carray):
        what = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        expected = f"a C-contiguous, aligned, writable {name} array of shape {shape}"
        raise ConfigError(f"out is {what}, expected {expected}; make it with numpy.empty")
    return out
