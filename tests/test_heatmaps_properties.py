"""Properties of the core over shapes, strides, sigmas, borders, types and threads, against the slow reference."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kptool import heatmaps, reference

sides = st.integers(1, 300)
sigmas = st.floats(0.3, 20)
seeds = st.integers(0, 2**32 - 1)


def scene(seed: int, height: int, width: int, n: int = 2, k: int = 2, reach: float = 0.3) -> np.ndarray:
    """Points over an image and beyond its borders."""
    low, high = -reach * np.array([width, height]), (1 + reach) * np.array([width, height])
    return np.random.default_rng(seed).uniform(low, high, (n, k, 2))


@settings(max_examples=60, deadline=None)
@given(
    seeds, sides, sides, sigmas, st.integers(1, 8), st.sampled_from(heatmaps.DTYPES), st.sampled_from([6.0, None, 1.0])
)
def test_render_equals_the_reference(
    seed: int, height: int, width: int, sigma: float, stride: int, dtype: str, window: float | None
) -> None:
    points = scene(seed, height, width)
    visible = np.random.default_rng(seed).integers(0, 3, (2, 2)).astype(np.uint8)
    maps = heatmaps.render(
        points, (height, width), sigma, stride=stride, visibility=visible, dtype=dtype, window=window
    )
    exact = reference.render(points, (height, width), sigma, stride=stride, visibility=visible, window=window)
    scale, tolerance = {"float32": (1, 2e-7), "float16": (1, 5e-4), "uint8": (255, 0.5001)}[dtype]
    assert np.abs(maps.astype(np.float64) - scale * exact).max() <= tolerance


@settings(max_examples=30, deadline=None)
@given(seeds, sides, sides, sigmas, st.integers(1, 4), st.sampled_from(heatmaps.DTYPES))
def test_threads_change_nothing(seed: int, height: int, width: int, sigma: float, threads: int, dtype: str) -> None:
    points = scene(seed, height, width, n=5, k=7)
    one = heatmaps.render(points, (height, width), sigma, dtype=dtype, threads=1)
    many = heatmaps.render(points, (height, width), sigma, dtype=dtype, threads=threads)
    assert np.array_equal(one, many)
    for method in ("centroid", "gaussian"):
        assert all(
            np.array_equal(a, b)
            for a, b in zip(
                heatmaps.decode(one, method, threads=1), heatmaps.decode(one, method, threads=threads), strict=True
            )
        )


@settings(max_examples=80, deadline=None)
@given(
    seeds,
    st.integers(1, 60),
    st.integers(1, 60),
    st.floats(0.3, 12),
    st.sampled_from(heatmaps.METHODS),
    st.sampled_from([0, 0.01, 0.3]),
)
def test_decode_equals_the_reference(
    seed: int, height: int, width: int, sigma: float, method: str, noise: float
) -> None:
    maps = reference.render(scene(seed, height, width), (height, width), sigma)
    maps += np.random.default_rng(seed).normal(0, noise, maps.shape)
    for dtype in ("float32", "float16"):
        typed = maps.astype(dtype)
        points, scores = heatmaps.decode(typed, method)
        expected, sure = reference.decode(typed, method)
        assert np.allclose(scores, sure, rtol=1e-6)
        off = np.abs(points - expected).max(-1)
        # Where the fit hangs by a hair - a curvature about zero, an offset about the limit - either answer is right.
        assume(method != "gaussian" or np.median(off) < 1e-3)
        assert (off < 1e-3).mean() >= (0.75 if method == "gaussian" and noise else 1.0)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(20, 120), st.integers(20, 120), st.floats(1, 4), st.integers(1, 4))
def test_what_is_rendered_is_found(seed: int, height: int, width: int, sigma: float, stride: int) -> None:
    points = np.random.default_rng(seed).uniform(-0.5, np.array([width, height]) - 0.5, (2, 3, 2))
    found, scores = heatmaps.decode(heatmaps.render(points, (height, width), sigma, stride=stride))
    assert np.abs((found + 0.5) * stride - 0.5 - points).max() < 0.02 * stride
    assert scores.min() > 0.6


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 20), st.integers(1, 20), st.sampled_from(heatmaps.METHODS))
def test_shifting_the_input_shifts_the_output(seed: int, dx: int, dy: int, method: str) -> None:
    points = np.random.default_rng(seed).uniform(25, 35, (1, 2, 2))
    maps, moved = (heatmaps.render(p, (80, 80), 1.5) for p in (points, points + [dx, dy]))
    expected = np.roll(maps, (dy, dx), axis=(2, 3))
    assert np.abs(moved - expected).max() < 1e-6
    assert np.abs(heatmaps.decode(expected, method)[0] - heatmaps.decode(maps, method)[0] - [dx, dy]).max() < 1e-4


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0.01, 100))
def test_decoding_does_not_depend_on_scale(seed: int, gain: float) -> None:
    maps = heatmaps.render(scene(seed, 40, 40, reach=0), (40, 40), 2.0)
    assert np.abs(heatmaps.decode(maps)[0] - heatmaps.decode((maps * gain).astype(np.float32))[0]).max() < 1e-3
