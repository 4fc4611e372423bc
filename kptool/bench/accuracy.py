"""Decoder accuracy: mean error on float32 heatmaps of 96x96 with sigma 2 and keypoints at random sub-pixel positions.

"Inside" means more than three sigma from every border, "at edges" closer, down to the centres of the outermost pixels.
The noise is white, with a standard deviation of 1 % of the peak. Errors below a thousandth of a pixel count as that: without
noise, the fit of a Gaussian is exact, and a ratio to it says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.bench import peers
from kptool.bench.timing import Row

Points = NDArray[np.float64]
_SIDE, _SIGMA = 96, 2.0
_LEAST = 1e-3


def run(quick: bool = False) -> list[Row]:
    """Mean errors in pixels of the default decoder against every other one and the installed peers."""
    rng = np.random.default_rng(0)
    count = 20 if quick else 200
    rows: list[Row] = []
    for place, points in (("inside", _inside(rng, count)), ("at edges", _at_edges(rng, count))):
        clean = heatmaps.render(points, (_SIDE, _SIDE), _SIGMA)
        noisy = (clean + rng.normal(0, 0.01, clean.shape)).astype(np.float32)
        for what, maps in (("noiseless", clean), ("1 % noise", noisy)):
            rows += _against(f"{place}, {what}", maps, points)
    return rows


def _inside(rng: np.random.Generator, count: int) -> Points:
    """Points (count, 15, 2) more than three sigma from every border."""
    margin = 3 * _SIGMA
    return rng.uniform(margin, _SIDE - 1 - margin, (count, 15, 2))


def _at_edges(rng: np.random.Generator, count: int) -> Points:
    """Points (count, 15, 2) with one coordinate within three sigma of a border, the other anywhere."""
    points = rng.uniform(0, _SIDE - 1, (count, 15, 2))
    near = rng.uniform(0, 3 * _SIGMA, (count, 15))
    near = np.where(rng.random((count, 15)) < 0.5, near, _SIDE - 1 - near)
    across = rng.random((count, 15)) < 0.5
    points[..., 0] = np.where(across, near, points[..., 0])
    points[..., 1] = np.where(across, points[..., 1], near)
    return points


def _against(task: str, maps: NDArray[np.float32], points: Points) -> Iterator[Row]:
    def error(found: NDArray[np.floating]) -> float:
        return max(_LEAST, float(np.linalg.norm(found - points, axis=-1).mean()))

    ours = error(heatmaps.decode(maps)[0])
    others: dict[str, Callable[[], NDArray[np.floating]]] = {
        method: lambda method=method: heatmaps.decode(maps, method)[0]  # type: ignore[misc]
        for method in heatmaps.METHODS
        if method != "gaussian"
    }
    for name, (package, _, make) in peers.DECODERS.items():
        if package not in (None, "torch") and peers.available(package):
            others[name] = make(maps)
    for name, decode in others.items():
        yield Row("error of decoding", f"gaussian, {task}", name, ours, error(np.asarray(decode())), unit="px")
