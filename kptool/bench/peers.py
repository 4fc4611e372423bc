"""Other implementations of rendering and decoding, adapted to the conventions under which results equal kptool's.

The NumPy and torch ones are the usual hand-written forms; the others are libraries, used if they are installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.bench import toolkits

Maps = NDArray[Any]
Points = NDArray[Any]
Render = Callable[[Points, int, int, float], Callable[[], Any]]
Decode = Callable[[Maps], Callable[[], Any]]


def numpy_separable(points: Points, height: int, width: int, sigma: float) -> Callable[[], Maps]:
    """The outer product of two 1-D Gaussians, for all keypoints at once."""
    p = points.astype(np.float32)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)

    def render() -> Maps:
        row = np.exp(-0.5 * ((x - p[..., :1]) / sigma) ** 2)
        column = np.exp(-0.5 * ((y - p[..., 1:]) / sigma) ** 2)
        maps: Maps = column[..., :, None] * row[..., None, :]
        return maps

    return render


def numpy_loop(points: Points, height: int, width: int, sigma: float) -> Callable[[], Maps]:
    """A 2-D exponential per keypoint in a loop, as in tutorials."""
    y, x = np.mgrid[:height, :width].astype(np.float32)

    def render() -> Maps:
        maps = np.empty((*points.shape[:2], height, width), np.float32)
        for n, k in np.ndindex(*points.shape[:2]):
            cx, cy = points[n, k]
            maps[n, k] = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
        return maps

    return render


def numpy_into(points: Points, height: int, width: int, sigma: float) -> Callable[[], Maps]:
    """The separable form into a given array."""
    p = points.astype(np.float32)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    out = np.empty((*points.shape[:2], height, width), np.float32)

    def render() -> Maps:
        row = np.exp(-0.5 * ((x - p[..., :1]) / sigma) ** 2)
        column = np.exp(-0.5 * ((y - p[..., 1:]) / sigma) ** 2)
        np.multiply(column[..., :, None], row[..., None, :], out=out)
        return out

    return render


def _separable(p: Any, x: Any, y: Any, sigma: float, out: Any = None) -> Any:
    import torch

    row = torch.exp(-0.5 * ((x - p[..., :1]) / sigma) ** 2)
    column = torch.exp(-0.5 * ((y - p[..., 1:]) / sigma) ** 2)
    return torch.mul(column[..., :, None], row[..., None, :], out=out)


def torch_into(points: Points, height: int, width: int, sigma: float) -> Callable[[], Any]:
    """The separable form in torch, eager, into a given tensor."""
    import torch

    p = torch.from_numpy(points.astype(np.float32))
    out = torch.empty((*points.shape[:2], height, width))
    return lambda: _separable(p, torch.arange(width), torch.arange(height), sigma, out)


def torch_separable(points: Points, height: int, width: int, sigma: float) -> Callable[[], Any]:
    """The separable form in torch, eager."""
    import torch

    p = torch.from_numpy(points.astype(np.float32))
    return lambda: _separable(p, torch.arange(width), torch.arange(height), sigma)


def torch_compiled(points: Points, height: int, width: int, sigma: float) -> Callable[[], Any]:
    """The separable form under torch.compile."""
    import torch

    p = torch.from_numpy(points.astype(np.float32))
    compiled = torch.compile(_separable)
    return lambda: compiled(p, torch.arange(width), torch.arange(height), sigma)


def _numba_filler() -> Any:
    """A function that numba compiles, one pass over the output."""
    import numba

    @numba.njit  # type: ignore[untyped-decorator, unused-ignore]
    def fill(p: Any, out: Any, sigma: float) -> None:
        for i in range(out.shape[0]):
            row = np.exp(-0.5 * ((np.arange(out.shape[2]) - p[i, 0]) / sigma) ** 2).astype(np.float32)
            column = np.exp(-0.5 * ((np.arange(out.shape[1]) - p[i, 1]) / sigma) ** 2).astype(np.float32)
            for y in range(out.shape[1]):
                for x in range(out.shape[2]):
                    out[i, y, x] = column[y] * row[x]

    return fill


def numba_separable(points: Points, height: int, width: int, sigma: float) -> Callable[[], Maps]:
    """The separable form compiled by numba, into a new array."""
    fill, p = _numba_filler(), points.reshape(-1, 2)

    def render() -> Maps:
        out = np.empty((len(p), height, width), np.float32)
        fill(p, out, sigma)
        return out

    return render


def numba_into(points: Points, height: int, width: int, sigma: float) -> Callable[[], Maps]:
    """The separable form compiled by numba, into a given array."""
    fill, p = _numba_filler(), points.reshape(-1, 2)
    out = np.empty((len(p), height, width), np.float32)

    def render() -> Maps:
        fill(p, out, sigma)
        return out

    return render


def kornia_render(points: Points, height: int, width: int, sigma: float) -> Callable[[], Any]:
    """kornia.geometry.subpix.render_gaussian2d; its maps sum to 1, so they are compared after scaling to a peak of 1."""
    import torch
    from kornia.geometry.subpix import render_gaussian2d

    p = torch.from_numpy(points.reshape(-1, 2).astype(np.float32))
    std = torch.full_like(p, sigma)
    return lambda: render_gaussian2d(p, std, (height, width), normalized_coordinates=False)


RENDERERS: dict[str, tuple[str | None, Render]] = {
    "numpy, separable": (None, numpy_separable),
    "numpy, a 2-D exp per keypoint": (None, numpy_loop),
    "torch, separable": ("torch", torch_separable),
    "torch.compile, separable": ("torch", torch_compiled),
    "numba, separable": ("numba", numba_separable),
    "kornia render_gaussian2d": ("kornia", kornia_render),
    "mmpose UDP codec": ("mmpose", toolkits.mmpose_udp),
    "sleap-nn make_confmaps": ("sleap_nn", toolkits.sleap_confmaps),
    "lightning-pose generate_heatmaps": ("lightning_pose", toolkits.lightning_heatmaps),
}


RENDERERS_INTO: dict[str, Render] = {
    "numpy, separable": numpy_into,
    "torch, separable": torch_into,
    "numba, separable": numba_into,
}
"""Those that can write into a given array."""


def numpy_argmax(maps: Maps) -> Callable[[], Points]:
    """np.argmax and divmod."""

    def decode() -> Points:
        index = maps.reshape(*maps.shape[:2], -1).argmax(-1)
        return np.stack([index % maps.shape[3], index // maps.shape[3]], -1)

    return decode


def torch_argmax(maps: Maps) -> Callable[[], Any]:
    """torch.max over the flattened map, and divmod."""
    import torch

    tensor = torch.from_numpy(maps)

    def decode() -> Any:
        index = tensor.flatten(2).max(-1).indices
        return torch.stack([index % maps.shape[3], index // maps.shape[3]], -1)

    return decode


def numpy_expectation(maps: Maps) -> Callable[[], Points]:
    """The average position of all pixels, weighted by their values."""
    x, y = (np.arange(side, dtype=np.float32) for side in (maps.shape[3], maps.shape[2]))

    def decode() -> Points:
        total = maps.sum((2, 3))
        points: Points = np.stack([maps.sum(2) @ x / total, maps.sum(3) @ y / total], -1)
        return points

    return decode


def dsntnn_expectation(maps: Maps) -> Callable[[], Any]:
    """dsntnn.dsnt, whose coordinates run from -1 to 1 between the map's edges; of maps that were normalised before."""
    import dsntnn
    import torch

    tensor = torch.from_numpy(maps / maps.sum((2, 3), keepdims=True))

    def decode() -> Any:
        points = dsntnn.dsnt(tensor)
        return (points + 1) * torch.tensor([maps.shape[3] / 2, maps.shape[2] / 2]) - 0.5

    return decode


def kornia_expectation(maps: Maps) -> Callable[[], Any]:
    """kornia.geometry.subpix.spatial_expectation2d, of maps that were normalised before."""
    import torch
    from kornia.geometry.subpix import spatial_expectation2d

    tensor = torch.from_numpy(maps / maps.sum((2, 3), keepdims=True))
    return lambda: spatial_expectation2d(tensor, normalized_coordinates=False)


DECODERS: dict[str, tuple[str | None, str, Decode]] = {
    "numpy argmax": (None, "argmax", numpy_argmax),
    "torch argmax": ("torch", "argmax", torch_argmax),
    "numpy weighted average": (None, "centroid-global", numpy_expectation),
    "dsntnn": ("dsntnn", "centroid-global", dsntnn_expectation),
    "kornia spatial_expectation2d": ("kornia", "centroid-global", kornia_expectation),
    "mmpose DARK": ("mmpose", "dark", toolkits.mmpose_dark),
    "rtmlib DARK": ("rtmlib", "dark", toolkits.rtmlib_dark),
}


def available(package: str | None) -> bool:
    """Whether a peer's package is installed; None means that it needs none."""
    return package is None or importlib.util.find_spec(package) is not None
