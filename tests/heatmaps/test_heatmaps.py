"""Rendering and decoding by example: values, accuracy, degenerate maps, and error messages."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import reference
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.base.errors import DataError

Points = NDArray[np.float64]


def one_point(x: float, y: float) -> Points:
    return np.array([[[x, y]]])


def scatter(count: int, low: float, high: float, seed: int = 0) -> Points:
    return np.random.default_rng(seed).uniform(low, high, (count, 1, 2))


def mean_error(maps: NDArray[Any], points: Points, method: str = "gaussian") -> float:
    return float(np.linalg.norm(heatmaps.decode(maps, method)[0] - points, axis=-1).mean())


def test_a_gaussian_is_one_at_its_keypoint_and_falls_off_with_sigma() -> None:
    maps = heatmaps.render(one_point(5, 3), (8, 10), 1.5)
    assert maps.shape == (1, 1, 8, 10)
    assert maps.dtype == np.float32
    assert maps[0, 0, 3, 5] == 1
    assert maps[0, 0, 3, 7] == pytest.approx(np.exp(-0.5 * (2 / 1.5) ** 2), abs=2e-7)
    assert maps[0, 0, 6, 5] == pytest.approx(np.exp(-0.5 * (3 / 1.5) ** 2), abs=2e-7)


def test_stride_moves_half_pixels_as_geometry_says() -> None:
    """Image pixel 3.5 is the edge between cells 0 and 1 of stride 4: half a cell from both centres."""
    maps = heatmaps.render(one_point(3.5, 1.5), (9, 9), 1.0, stride=4)
    assert maps.shape == (1, 1, 3, 3)
    assert maps[0, 0, 0, 0] == maps[0, 0, 0, 1] == pytest.approx(np.exp(-0.125), abs=2e-7)


def test_sigma_may_differ_from_keypoint_to_keypoint() -> None:
    points = np.full((3, 2, 2), 8.0)
    both = heatmaps.render(points, (17, 17), np.array([1.0, 3.0]))
    for k, sigma in enumerate((1.0, 3.0)):
        assert np.array_equal(both[:, k], heatmaps.render(points, (17, 17), sigma)[:, k])


def test_an_unlabelled_keypoint_leaves_its_map_empty() -> None:
    maps = heatmaps.render(np.full((1, 3, 2), 4.0), (9, 9), visibility=np.array([[0, 1, 2]], dtype=np.uint8))
    assert maps.max((2, 3)).tolist() == [[0, 1, 1]]


def test_points_outside_render_what_reaches_in() -> None:
    points = np.array([[[-2.0, 4.0], [-100.0, 4.0], [1e150, -1e150], [4.0, 20.0]]])
    maps = heatmaps.render(points, (9, 9), 1.0)
    assert np.abs(maps - reference.render(points, (9, 9), 1.0)).max() <= 2e-7
    assert maps.max((2, 3))[0].tolist() == pytest.approx([np.exp(-2), 0, 0, 0], abs=2e-7)


def test_the_default_window_drops_less_than_2e_7() -> None:
    points = scatter(20, -3, 67)
    cut, whole = (heatmaps.render(points, (64, 64), 2.0, window=w) for w in (5.6, None))
    assert 0 < np.abs(cut - whole).max() < 2e-7
    assert (heatmaps.render(one_point(32, 32), (64, 64), 2.0, window=1.0) > 0).sum() == 25


def test_uint8_and_float16_round_to_nearest() -> None:
    points = scatter(20, 0, 63)
    exact = reference.render(points, (64, 64), 3.0)
    assert np.abs(heatmaps.render(points, (64, 64), 3.0, dtype="uint8") - 255 * exact).max() <= 0.5 + 1e-4
    half = heatmaps.render(points, (64, 64), 3.0, dtype="float16")
    assert half.dtype == np.float16
    assert np.abs(half - exact).max() <= 2.0**-12 + 2e-7


def test_large_outputs_are_written_as_small_ones_are() -> None:
    """Arrays larger than the last-level cache are written with other instructions; also with unaligned rows."""
    points = scatter(700, -5, 125)
    for width in (120, 117):
        large = heatmaps.render(points, (120, width), 2.0)
        parts = [heatmaps.render(points[i : i + 50], (120, width), 2.0) for i in range(0, 700, 50)]
        assert np.array_equal(large, np.concatenate(parts))


@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_out_is_filled_and_returned(dtype: str) -> None:
    points = scatter(4, 0, 30)
    out = np.full((4, 1, 31, 33), 7, dtype=dtype)
    assert heatmaps.render(points, (31, 33), dtype=dtype, out=out) is out
    assert np.array_equal(out, heatmaps.render(points, (31, 33), dtype=dtype))


def test_empty_batches() -> None:
    assert heatmaps.render(np.zeros((0, 5, 2)), (8, 9)).shape == (0, 5, 8, 9)
    coords, scores = heatmaps.decode(np.zeros((2, 0, 8, 9), dtype=np.float32))
    assert coords.shape == (2, 0, 2)
    assert scores.shape == (2, 0)


@pytest.mark.parametrize(("low", "high"), [(6.0, 89.0), (-0.5, 6.0)])
def test_the_default_method_meets_its_accuracy(low: float, high: float) -> None:
    """96x96, sigma 2, inside and near borders: 1e-4 without noise, 0.013 with noise of 0.01."""
    points = scatter(1500, low, high)
    if low < 0:  # one coordinate near an edge, the other anywhere
        points[:1000, 0, 1] = scatter(1000, 0, 95, seed=1)[:, 0, 1]
        points = np.clip(points, 0, 95)
        points[::2] = 95 - points[::2]
    maps = heatmaps.render(points, (96, 96), 2.0)
    noise = np.random.default_rng(2).normal(0, 0.01, maps.shape).astype(np.float32)
    assert mean_error(maps, points) <= 1e-4
    assert mean_error(maps + noise, points) <= 0.013


def test_a_keypoint_just_outside_is_found_at_the_border() -> None:
    points = np.array([[[-0.4, 20.0], [-2.0, 11.3], [31.9, -0.3]]])
    coords, _ = heatmaps.decode(heatmaps.render(points, (32, 32)))
    assert coords[0, 0] == pytest.approx([-0.4, 20.0], abs=1e-3)
    assert coords[0, 1] == pytest.approx([-0.5, 11.3], abs=1e-3)
    assert coords[0, 2] == pytest.approx([31.5, -0.3], abs=1e-3)


def test_the_fit_knows_no_width_and_keeps_the_centre_of_other_symmetric_blobs() -> None:
    y, x = np.mgrid[:40, :40]
    u, v = (x - 18.3) + 0.5 * (y - 21.6), (y - 21.6) - 0.5 * (x - 18.3)
    blob = np.exp(-((u / 3) ** 2) - (v / 5) ** 2).astype(np.float32)
    coords, _ = heatmaps.decode(blob[None, None])
    assert coords[0, 0] == pytest.approx([18.3, 21.6], abs=0.02)


def test_low_precision_costs_little() -> None:
    points = scatter(300, 0, 95)
    for dtype in ("uint8", "float16"):
        assert mean_error(heatmaps.render(points, (96, 96), dtype=dtype), points) < 3e-3


@pytest.mark.parametrize(
    ("method", "limit"), [("argmax", 0.5), ("centroid", 0.03), ("centroid-global", 1e-4), ("dark", 0.01)]
)
def test_other_methods_inside(method: str, limit: float) -> None:
    points = scatter(300, 20, 75)
    assert mean_error(heatmaps.render(points, (96, 96)), points, method) < limit


@pytest.mark.parametrize("method", heatmaps.METHODS)
@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_degenerate_maps_give_their_centre_and_no_score(method: str, dtype: str) -> None:
    one = 200 if dtype == "uint8" else 0.75
    maps = np.zeros((1, 2, 6, 9), dtype=dtype)
    maps[0, 1] = one
    if dtype != "uint8":
        bad = [np.nan, -np.nan, np.inf, -np.inf, -1.0]
        more = np.repeat(heatmaps.render(one_point(4, 3), (6, 9), dtype=dtype), 5, axis=1)
        more[0, :4, 5, 8] = bad[:4]
        more[0, 4] = -1
        maps = np.concatenate([maps, more], axis=1)
    coords, scores = heatmaps.decode(maps, method)
    assert (coords == [4, 2.5]).all()
    assert (scores == 0).all()


@pytest.mark.parametrize("method", heatmaps.METHODS)
def test_maps_too_small_for_a_window(method: str) -> None:
    for shape in ((1, 1), (1, 2), (2, 1), (2, 2), (1, 9), (3, 3)):
        maps = np.arange(1, shape[0] * shape[1] + 1, dtype=np.float32).reshape(1, 1, *shape)
        coords, scores = heatmaps.decode(maps, method)
        expected, sure = reference.decode(maps, method)
        assert coords == pytest.approx(expected, abs=1e-5)
        assert scores == pytest.approx(sure)


@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_of_several_peaks_the_first_counts(dtype: str) -> None:
    maps = np.zeros((1, 1, 70, 90), dtype=dtype)
    maps[0, 0, [60, 60, 66], [7, 80, 3]] = 1
    coords, scores = heatmaps.decode(maps, "argmax")
    assert coords.tolist() == [[[7, 60]]]
    assert scores[0, 0] == pytest.approx(1 / 255 if dtype == "uint8" else 1)


def test_decode_takes_arrays_of_any_layout() -> None:
    maps = heatmaps.render(np.array([[[3.0, 8.0], [5.0, 6.0]]]), (16, 16))
    expected = heatmaps.decode(maps)[0]
    shifted = np.frombuffer(b"x" + maps.tobytes(), np.float32, maps.size, 1).reshape(maps.shape)
    for other in (np.asfortranarray(maps), maps.astype(">f4"), np.repeat(maps, 2, axis=3)[..., ::2], shifted):
        assert np.array_equal(heatmaps.decode(other)[0], expected)


def test_calls_from_several_threads_do_not_disturb_each_other() -> None:
    points = scatter(64, 0, 95)
    expected = heatmaps.render(points, (96, 96))
    results: list[bool] = []

    def work() -> None:
        results.extend(np.array_equal(heatmaps.render(points, (96, 96), threads=2), expected) for _ in range(20))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [True] * 80


def test_a_renderer_equals_render_call_after_call() -> None:
    """Smaller and larger than the caches, aligned and not, with keypoints that move, vanish and leave the map."""
    rng = np.random.default_rng(0)
    for count, width, dtype in (
        (5, 40, "float32"),
        (2, 37, "uint8"),
        (3, 33, "float16"),
        (1100, 96, "float32"),
    ):
        sigma = rng.uniform(0.5, 5, 3)
        draw = heatmaps.Renderer(count, 3, (64, width), sigma, dtype=dtype, threads=2)
        for _ in range(4):
            points, visibility = rng.uniform(-20, 90, (count, 3, 2)), rng.integers(0, 2, (count, 3))
            expected = heatmaps.render(points, (64, width), sigma, visibility=visibility, dtype=dtype)
            assert np.array_equal(draw(points, visibility), expected)
        fewer = count // 2
        assert np.array_equal(draw(points[:fewer], visibility[:fewer]), expected[:fewer])
        assert not draw.heatmaps[fewer:].any()


def test_a_renderer_refuses_other_shapes() -> None:
    with pytest.raises(DataError, match=r"keypoints have shape \(3, 3, 2\), expected at most \(2, 3, 2\)"):
        heatmaps.Renderer(2, 3, (8, 8))(np.zeros((3, 3, 2)))


def test_memory_of_large_results_is_used_again_only_when_they_are_gone() -> None:
    points = scatter(64, 0, 95)
    first = heatmaps.render(points, (96, 96))
    address, copy, part = first.ctypes.data, first.copy(), first[3]
    second = heatmaps.render(95 - points, (96, 96))
    assert second.ctypes.data != address
    del first
    third = heatmaps.render(95 - points, (96, 96))
    assert third.ctypes.data != address
    assert np.array_equal(part, copy[3])
    del part
    assert heatmaps.render(points, (96, 96)).ctypes.data == address
    heatmaps.clear_pool()
    assert np.array_equal(third, second)
