"""Arguments of `render`, `Renderer` and `decode`: limits, defaults, and all numeric types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference

from kptool import heatmaps
from kptool.base.errors import ConfigError, DataError

POINTS = np.array([[[4.0, 3.25], [1.5, 6.0]], [[7.0, 7.0], [2.0, 2.0]]])


def test_the_defaults() -> None:
    """sigma 2, stride 1, float32, all keypoints, a window of 5.6 sigmas; decoded by the Gaussian fit."""
    maps = heatmaps.render(POINTS, (40, 41))
    spelled = {"sigma": 2.0, "stride": 1, "visibility": np.ones((2, 2), int), "dtype": "float32", "threads": 0}
    assert np.array_equal(maps, heatmaps.render(POINTS, (40, 41), **spelled, window=5.6))
    assert np.array_equal(maps, heatmaps.Renderer(2, 2, (40, 41))(POINTS))
    assert maps[0, 0, 3, 15] > 0  # 11 pixels away, which is 5.5 sigmas
    assert maps[0, 0, 3, 16] == 0
    coords, scores = heatmaps.decode(maps)
    spelled_out = heatmaps.decode(maps, "gaussian", threads=0)
    assert np.array_equal(coords, spelled_out[0])
    assert np.array_equal(scores, spelled_out[1])


@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_a_renderer_takes_what_render_takes(dtype: str) -> None:
    more: dict[str, Any] = {"stride": 3, "dtype": dtype, "threads": 1, "window": 1.5}
    draw = heatmaps.Renderer(2, 2, (31, 40), 1.25, **more)
    assert draw.heatmaps.shape == (2, 2, 11, 14)
    assert draw.heatmaps.dtype == dtype
    assert not draw.heatmaps.any()
    for visibility in (None, np.array([[0, 1], [2, 0]])):
        expected = heatmaps.render(POINTS, (31, 40), 1.25, visibility=visibility, **more)
        assert np.array_equal(draw(POINTS, visibility), expected)
    assert np.array_equal(draw(POINTS[:1]), heatmaps.render(POINTS[:1], (31, 40), 1.25, **more))


def test_a_renderer_begins_empty_whatever_its_memory_held() -> None:
    """The maps of an image with only unlabelled keypoints are never drawn, so they must be cleared."""
    shape = (64, 3, 96, 96)
    used = heatmaps.render(np.full((64, 3, 2), 40.0), shape[2:], 30.0)
    assert used.min() >= 0
    assert used.any()
    del used  # the next array of this size reuses its memory
    draw = heatmaps.Renderer(64, 3, shape[2:])
    assert not draw.heatmaps.any()
    assert not draw(np.zeros((64, 3, 2)), np.zeros((64, 3), np.uint8)).any()


def test_a_renderer_wants_its_number_of_keypoints() -> None:
    draw = heatmaps.Renderer(2, 3, (8, 8))
    with pytest.raises(DataError, match=r"keypoints have shape \(1, 2, 2\), expected at most \(2, 3, 2\)"):
        draw(np.zeros((1, 2, 2)))
    with pytest.raises(DataError, match="expected whole numbers of shape"):
        draw(np.zeros((1, 3, 2)), np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize("sigma", [0.1, 1000])
def test_sigmas_at_the_limits_are_drawn(sigma: float) -> None:
    exact = reference.render(POINTS, (9, 9), sigma)
    assert np.abs(heatmaps.render(POINTS, (9, 9), sigma) - exact).max() <= 2e-7
    assert np.array_equal(heatmaps.render(POINTS, (9, 9), [sigma, sigma]), heatmaps.render(POINTS, (9, 9), sigma))


@pytest.mark.parametrize("sigma", [0.0999, 1000.1, [1.0, 0.05], [[1.0, 1.0]]])
def test_sigmas_beyond_are_refused(sigma: Any) -> None:
    with pytest.raises(ConfigError, match="sigma"):
        heatmaps.render(POINTS, (9, 9), sigma)


def test_sides_are_1_to_65536_pixels() -> None:
    one = POINTS[:1, :1]
    assert heatmaps.render(one, (1, 1)).shape == (1, 1, 1, 1)
    assert heatmaps.render(one, (1, heatmaps.MAX_SIDE)).shape[3] == 65536
    assert heatmaps.render(one, (np.int64(65536), np.int32(1)), stride=np.int64(2)).shape[2:] == (32768, 1)
    for size in ((1, 65537), (65537, 1), (0, 1), (1, 0), (3,), (3, 3, 3), (1, 2.0)):
        with pytest.raises(ConfigError, match="size is"):
            heatmaps.render(one, size)  # type: ignore[arg-type]
    for stride in (-1, 1.0, "2"):
        with pytest.raises(ConfigError, match="stride is"):
            heatmaps.render(one, (8, 8), stride=stride)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["float16", "float32", ">f8", "int8", "uint16", "int64"])
def test_points_of_any_kind_of_number(kind: str) -> None:
    points = np.trunc(POINTS).astype(kind)
    assert np.array_equal(heatmaps.render(points, (9, 9)), heatmaps.render(np.trunc(POINTS), (9, 9)))
    turned = np.asfortranarray(points)
    assert np.array_equal(heatmaps.render(turned, (9, 9)), heatmaps.render(points, (9, 9)))


def test_coarse_numbers_are_placed_as_finely_as_others() -> None:
    """Half pixels and strides are computed in float64, whatever the dtype of the points."""
    for kind in (np.float16, np.float32, np.int8):
        points = (POINTS * 1.1).astype(kind)
        maps = heatmaps.render(points, (40, 40), 0.5, stride=3)
        assert np.array_equal(maps, heatmaps.render(points.astype(np.float64), (40, 40), 0.5, stride=3))


@pytest.mark.parametrize("points", [POINTS.astype(complex), POINTS > 3, np.zeros((2, 2, 3)), np.zeros((1, 2, 2, 2, 2))])
def test_points_that_are_no_points(points: np.ndarray) -> None:
    with pytest.raises(DataError, match="keypoints have"):
        heatmaps.render(points, (9, 9))


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, ">i4"])
def test_visibility_of_any_kind_of_whole_number(kind: Any) -> None:
    flags = np.asfortranarray(np.array([[1, 0], [0, 1]]).astype(kind))
    maps = heatmaps.render(POINTS, (9, 9), visibility=flags)
    assert maps.any((2, 3)).tolist() == [[True, False], [False, True]]
    more = heatmaps.render(POINTS, (9, 9), visibility=np.array([[256, 0], [0, -1]]))
    assert np.array_equal(more, maps)
    with pytest.raises(DataError, match="visibility is float64 of shape"):
        heatmaps.render(POINTS, (9, 9), visibility=np.ones((2, 2)))


def test_windows() -> None:
    narrow = heatmaps.render(POINTS, (9, 9), window=1e-3)
    assert (narrow > 0).sum() == 2  # only points at a pixel's centre
    for window in (0, -0.0, np.nan):
        with pytest.raises(ConfigError, match="window is"):
            heatmaps.render(POINTS, (9, 9), window=window)


def test_threads_are_counted_in_whole_numbers() -> None:
    for threads in (1, np.int64(2)):
        maps = heatmaps.render(POINTS, (9, 9), threads=threads)  # type: ignore[arg-type]
        heatmaps.decode(maps, threads=threads)  # type: ignore[arg-type]
    for threads in (1.0, "1", -2):
        with pytest.raises(ConfigError, match="threads is"):
            heatmaps.decode(maps, threads=threads)  # type: ignore[arg-type]


def test_types_that_are_no_names() -> None:
    """NumPy scalar types are accepted; an output array must have native byte order."""
    assert heatmaps.render(POINTS, (9, 9), dtype=np.uint8).dtype == np.uint8  # type: ignore[arg-type]
    for name in ("f4", "nonsense"):
        with pytest.raises(ConfigError, match=f"dtype is '{name}', expected one of float32, float16, uint8"):
            heatmaps.render(POINTS, (9, 9), dtype=name)
    out = np.empty((2, 2, 9, 9), ">f4")
    with pytest.raises(ConfigError, match="out is >f4 of shape"):
        heatmaps.render(POINTS, (9, 9), out=out)
    shifted = np.frombuffer(bytearray(2 * 2 * 81 * 4 + 1), np.uint8)[1:].view(np.float32).reshape(2, 2, 9, 9)
    with pytest.raises(ConfigError, match="out is float32 of shape"):
        heatmaps.render(POINTS, (9, 9), out=shifted)


def test_decode_of_lists_and_of_maps_without_height() -> None:
    maps = heatmaps.render(POINTS, (9, 9))
    assert np.array_equal(heatmaps.decode(list(maps))[0], heatmaps.decode(maps)[0])  # type: ignore[arg-type]
    for shape in ((2, 2, 0, 9), (2, 2, 9, 0), (1, 2, 2, 9, 9)):
        with pytest.raises(DataError, match="heatmaps have shape"):
            heatmaps.decode(np.zeros(shape, np.float32))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say what a process uses")
def test_the_pool_is_returned_to_the_system() -> None:
    """Measured in a subprocess, because one that has run other tests has spare pages and would hide the effect."""
    subprocess.run([sys.executable, "-P", "-c", _POOL], check=True)


_POOL = """
import os
from pathlib import Path
import numpy as np
from kptool import heatmaps
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
heatmaps.clear_pool()
before = resident()
maps = heatmaps.render(np.full((64, 15, 2), 60.0), (128, 128), 30.0)
size = maps.nbytes
del maps
assert resident() - before > size // 2  # it waits to be used again
heatmaps.clear_pool()
assert resident() - before < size // 2
"""
