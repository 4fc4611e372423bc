"""Heatmap properties: core equals reference, results do not depend on threads, points survive a round trip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kptool import _core, heatmaps
from kptool.base.geometry import to_heatmap

SETTINGS = settings(max_examples=60, deadline=None)
SIDES = st.integers(1, 300)
SIGMAS = st.floats(0.3, 20)


@dataclass(frozen=True)
class Case:
    points: NDArray[np.float64]
    size: tuple[int, int]
    sigma: float | NDArray[np.float64]
    stride: int
    visibility: NDArray[np.uint8] | None
    window: float | None

    def render(self, **more: Any) -> NDArray[Any]:
        return heatmaps.render(
            self.points,
            self.size,
            self.sigma,
            stride=self.stride,
            visibility=self.visibility,
            window=self.window,
            **more,
        )

    def exact(self) -> NDArray[np.float64]:
        return reference.render(
            self.points,
            self.size,
            self.sigma,
            stride=self.stride,
            visibility=self.visibility,
            window=self.window,
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    size = draw(SIDES), draw(SIDES)
    count, keypoints = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    points = rng.uniform(-0.3, 1.3, (count, keypoints, 2)) * size[::-1]
    if draw(st.booleans()):
        points = np.round(points)
    sigma = draw(SIGMAS) if draw(st.booleans()) else rng.uniform(0.3, 20, keypoints)
    visibility = rng.integers(0, 3, points.shape[:2]).astype(np.uint8) if draw(st.booleans()) else None
    window = draw(st.sampled_from([5.6, 3.0, 0.7, None]))
    return Case(points, size, sigma, draw(st.integers(1, 5)), visibility, window)


def near_the_cut(case: Case) -> NDArray[np.bool_]:
    """Pixels whose distance to the window's edge is within rounding error: either result is correct."""
    if case.window is None:
        return np.zeros(1, dtype=bool)
    height, width = (-(-side // case.stride) for side in case.size)
    centers = to_heatmap(case.points, case.stride)
    radius = case.window * np.broadcast_to(np.asarray(case.sigma), case.points.shape[1])[:, None]
    x, y = (np.abs(np.abs(np.arange(n) - centers[..., i, None]) - radius) < 1e-9 for i, n in enumerate((width, height)))
    return x[..., None, :] | y[..., :, None]


@SETTINGS
@given(cases())
def test_render_equals_the_reference(case: Case) -> None:
    exact, skip = case.exact(), near_the_cut(case)
    for dtype, one, limit in (
        ("float32", 1, 2e-7),
        ("uint8", 255, 0.5 + 1e-4),
        ("float16", 1, 2.0**-12 + 2e-7),
    ):
        error = np.where(skip, 0, np.abs(case.render(dtype=dtype) - one * exact))
        assert error.max() <= limit


@SETTINGS
@given(cases(), st.integers(2, 4), st.sampled_from(heatmaps.DTYPES))
def test_threads_change_no_bit(case: Case, threads: int, dtype: str) -> None:
    """Also with more maps, so that several threads are used."""
    repeat = 1 + 600_000 // max(1, case.size[0] * case.size[1] * case.points.shape[0] * case.points.shape[1])
    many = Case(
        np.repeat(case.points, min(repeat, 200), axis=0),
        case.size,
        case.sigma,
        case.stride,
        None,
        case.window,
    )
    alone, together = (many.render(dtype=dtype, threads=n) for n in (1, threads))
    assert np.array_equal(alone, together)
    for method in ("argmax", "gaussian"):
        for one, other in zip(
            heatmaps.decode(alone, method, threads=1),
            heatmaps.decode(alone, method, threads=threads),
            strict=True,
        ):
            assert np.array_equal(one, other)


@SETTINGS
@given(cases(), st.sampled_from(heatmaps.DTYPES), st.sampled_from([0.0, 0.01, 0.2]), st.integers(0, 9))
def test_decode_equals_the_reference(case: Case, dtype: str, noise: float, seed: int) -> None:
    maps = case.render(dtype="float32")
    maps += np.random.default_rng(seed).normal(0, noise, maps.shape).astype(np.float32)
    maps = np.rint(np.clip(maps, 0, 1) * 255).astype(np.uint8) if dtype == "uint8" else maps.astype(dtype)
    for method in heatmaps.METHODS:
        coords, scores = heatmaps.decode(maps, method)
        expected, sure = reference.decode(maps, method)
        assert np.abs(coords - expected).max() <= 1e-3
        assert np.abs(scores - sure).max() <= 1e-6


@SETTINGS
@given(st.integers(0, 2**32), st.sampled_from(heatmaps.METHODS), st.sampled_from(heatmaps.DTYPES))
def test_maps_beside_a_map_change_no_bit(seed: int, method: str, dtype: str) -> None:
    """Gaussians are fitted to several maps at once: of any width, at the border, cut off, or none at all."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:20, :17]
    centres, sigmas = rng.uniform(-2, 20, (7, 2, 1, 1)), rng.uniform(0.5, 6, (7, 1, 1))
    maps = np.exp(-((x - centres[:, 0]) ** 2 + (y - centres[:, 1]) ** 2) / (2 * sigmas**2))
    maps = np.clip(maps * rng.uniform(0, 2, (7, 1, 1)) + rng.normal(0, 0.05, maps.shape) * rng.integers(0, 2), 0, 1)
    maps[rng.integers(7)] = 0
    stored = (255 * maps).astype(np.uint8) if dtype == "uint8" else maps.astype(dtype)
    coordinates, scores = heatmaps.decode(stored[None], method)
    for i, each in enumerate(stored):
        alone = heatmaps.decode(each[None, None], method)
        assert np.array_equal(coordinates[:, i : i + 1], alone[0])
        assert np.array_equal(scores[:, i : i + 1], alone[1])


@SETTINGS
@given(st.integers(0, 2**32), st.floats(0.4, 8), st.integers(1, 4))
def test_points_survive_the_way_there_and_back(seed: int, sigma: float, stride: int) -> None:
    rng = np.random.default_rng(seed)
    size = tuple(int(side) * stride for side in rng.integers(40, 150, 2))
    points = rng.uniform(-0.4, 0.4 + np.array(size[::-1]) - 1, (2, 3, 2))
    coords, _ = heatmaps.decode(heatmaps.render(points, (size[0], size[1]), sigma, stride=stride))
    assert np.abs(coords - to_heatmap(points, stride)).max() < 1e-3


@SETTINGS
@given(st.integers(0, 2**32), st.integers(-9, 9), st.integers(-9, 9), st.sampled_from(heatmaps.METHODS))
def test_shifting_the_points_shifts_maps_and_coordinates(seed: int, dx: int, dy: int, method: str) -> None:
    """If nothing is cut off, that is, if the window ends inside the map."""
    points = (
        np.random.default_rng(seed).integers(40, 80, (1, 4, 2))
        + np.random.default_rng(seed + 1).integers(0, 8, (1, 4, 2)) / 8
    )
    shift = np.array([dx, dy])
    first, second = (heatmaps.render(p, (120, 120), 2.0, window=4.0) for p in (points, points + shift))
    assert np.array_equal(np.roll(first, (dy, dx), axis=(2, 3)), second)
    before, after = (heatmaps.decode(maps, method)[0] for maps in (first, second))
    assert np.abs(after - before - shift).max() < 1e-4


@SETTINGS
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40), st.sampled_from(["float32", "float16"]))
def test_any_bits_decode_to_a_point_inside(seed: int, height: int, width: int, dtype: str) -> None:
    """Random bit patterns, including NaN, infinity, subnormal and huge values."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 256, (1, 2, height, width, np.dtype(dtype).itemsize), dtype=np.uint8).view(dtype)[..., 0]
    maps[0, 1][~np.isfinite(maps[0, 1])] = 0
    for method in _core.METHODS:
        coords, scores = heatmaps.decode(maps, method)
        assert np.isfinite(scores).all()
        assert ((coords >= -0.5) & (coords <= [width - 0.5, height - 0.5])).all()


@SETTINGS
@given(st.integers(0, 2**32))
def test_float16_rounds_as_numpy_does(seed: int) -> None:
    """All magnitudes in 2^-26 ... 1 along one row, drawn at random."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(2, 40, 8)
    points = rng.uniform(0, 250, (4, 8, 2))
    half = heatmaps.render(points, (1, 256), sigma, dtype="float16", window=None)
    single = heatmaps.render(points, (1, 256), sigma, dtype="float32", window=None)
    assert np.array_equal(half, single.astype(np.float16))
