"""Rendering and decoding: exactness, accuracy, degenerate maps, and what is refused."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from kptool import heatmaps, reference
from kptool.errors import ConfigError, DataError

RNG = np.random.default_rng


def faces(n: int = 400, size: int = 96, margin: float = 6.0, seed: int = 0) -> np.ndarray:
    return RNG(seed).uniform(margin, size - 1 - margin, (n, 1, 2))


def near_edges(n: int = 400, size: int = 96, band: float = 6.0) -> np.ndarray:
    """Points within `band` pixels of one of the four edges."""
    rng = RNG(1)
    points = rng.uniform(band, size - 1 - band, (n, 1, 2))
    side, depth = rng.integers(0, 4, n), rng.uniform(0, band, n)
    points[:, 0, 0] = np.select([side == 0, side == 1], [depth, size - 1 - depth], points[:, 0, 0])
    points[:, 0, 1] = np.select([side == 2, side == 3], [depth, size - 1 - depth], points[:, 0, 1])
    return points


@pytest.mark.parametrize("window", [6.0, None, 2.5])
def test_float32_is_exact(window: float | None) -> None:
    points = RNG(0).uniform(-20, 130, (30, 3, 2))
    maps = heatmaps.render(points, (96, 110), [0.7, 2.0, 9.0], window=window)
    exact = reference.render(points, (96, 110), np.array([0.7, 2.0, 9.0]), window=window)
    assert np.abs(maps - exact).max() <= 2e-7


def test_the_default_window_drops_nothing_that_float32_shows() -> None:
    points = faces(20)
    assert np.abs(heatmaps.render(points, (96, 96)) - reference.render(points, (96, 96), window=None)).max() <= 2e-7


def test_float16_and_uint8_are_the_rounded_values() -> None:
    points = RNG(2).uniform(0, 64, (20, 4, 2))
    exact = heatmaps.render(points, (64, 64), 3.0)
    assert np.array_equal(heatmaps.render(points, (64, 64), 3.0, dtype="float16"), exact.astype(np.float16))
    assert np.array_equal(
        heatmaps.render(points, (64, 64), 3.0, dtype="uint8"), np.floor(exact * 255 + np.float32(0.5))
    )


def test_large_outputs_take_another_path_to_the_same_values() -> None:
    """Beyond the cache's size the maps are streamed past it."""
    points = RNG(3).uniform(-5, 130, (90, 5, 2))
    maps = heatmaps.render(points, (128, 128), 2.0)
    assert maps.nbytes > 24 << 20
    few = [heatmaps.render(points[i : i + 1], (128, 128), 2.0) for i in (0, 44, 89)]
    assert all(np.array_equal(one[0], maps[i]) for one, i in zip(few, (0, 44, 89), strict=True))
    assert np.array_equal(maps, heatmaps.render(points, (128, 128), 2.0, threads=1))


def test_strides_visibility_and_out() -> None:
    points = np.array([[[10.0, 20.0], [30.0, 5.0]]])
    maps = heatmaps.render(points, (64, 60), 1.5, stride=4, visibility=[[2, 0]])
    assert maps.shape == (1, 2, 16, 15)
    assert not maps[0, 1].any()
    found, _ = heatmaps.decode(maps)
    assert (found[0, 0] + 0.5) * 4 - 0.5 == pytest.approx(points[0, 0], abs=1e-3)
    out = np.full(maps.shape, 7, dtype=np.float16)
    assert heatmaps.render(points, (64, 60), 1.5, stride=4, out=out) is out
    assert out.max() <= 1


def test_a_renderer_equals_render_call_after_call() -> None:
    rng = RNG(4)
    for dtype in heatmaps.DTYPES:
        renderer = heatmaps.Renderer(6, 3, (40, 50), 2.0, stride=2, dtype=dtype)
        for n in (6, 4, 6, 0, 5):
            points, visible = rng.uniform(-10, 60, (n, 3, 2)), rng.integers(0, 3, (n, 3))
            expected = heatmaps.render(points, (40, 50), 2.0, stride=2, dtype=dtype, visibility=visible)
            assert np.array_equal(renderer.render(points, visible), expected)
    with pytest.raises(DataError, match="for this renderer"):
        renderer.render(np.zeros((7, 3, 2)))


@pytest.mark.parametrize(("points", "noise", "limit"), [
    (faces(), 0.0, 1e-4),
    (near_edges(), 0.0, 1e-3),
    (faces(1500), 0.01, 0.013),
    (near_edges(1500), 0.01, 0.013),
])  # fmt: skip
def test_the_default_decoder_is_accurate(points: np.ndarray, noise: float, limit: float) -> None:
    maps = heatmaps.render(points, (96, 96), 2.0)
    maps += RNG(5).normal(0, noise, maps.shape).astype(np.float32)
    found, _ = heatmaps.decode(maps)
    assert np.linalg.norm(found - points, axis=-1).mean() <= limit


@pytest.mark.parametrize(
    ("method", "limit"), [("argmax", 0.45), ("centroid", 0.03), ("centroid-global", 1e-3), ("dark", 1e-3)]
)
def test_other_decoders_are_as_accurate_as_they_can_be(method: str, limit: float) -> None:
    points = faces(margin=14)
    found, scores = heatmaps.decode(heatmaps.render(points, (96, 96), 2.0), method)
    assert np.linalg.norm(found - points, axis=-1).mean() <= limit
    assert (scores > 0.9).all()


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_coarse_types_decode_almost_as_well(dtype: str) -> None:
    points = faces()
    found, _ = heatmaps.decode(heatmaps.render(points, (96, 96), 2.0, dtype=dtype))
    assert np.linalg.norm(found - points, axis=-1).mean() <= 0.01


@pytest.mark.parametrize("method", heatmaps.METHODS)
@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_maps_without_a_peak_have_their_centre_and_score_zero(method: str, dtype: str) -> None:
    maps = np.zeros((1, 3, 7, 10), dtype)
    maps[0, 1] = 1
    maps[0, 2, 3, 3] = 0 if dtype == "uint8" else -1
    points, scores = heatmaps.decode(maps, method)
    assert scores.tolist() == [[0, 0, 0]]
    assert points.tolist() == [[[4.5, 3.0]] * 3]


@pytest.mark.parametrize("method", heatmaps.METHODS)
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_map_that_is_not_finite_has_no_peak(method: str, value: float, dtype: str) -> None:
    maps = heatmaps.render(faces(2, size=40), (40, 40), dtype=dtype)
    maps[0, 0, 39, 39] = value
    points, scores = heatmaps.decode(maps, method)
    assert (scores[0, 0], scores[1, 0] > 0.8) == (0, True)
    assert points[0, 0].tolist() == [19.5, 19.5]
    assert np.isfinite(points).all()


def test_the_first_of_equal_peaks_counts() -> None:
    maps = np.zeros((1, 1, 9, 9), np.float32)
    maps[0, 0, 2, 6] = maps[0, 0, 7, 1] = 0.5
    points, scores = heatmaps.decode(maps, "argmax")
    assert (points.tolist(), scores.tolist()) == ([[[6, 2]]], [[0.5]])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 5)])
@pytest.mark.parametrize("method", heatmaps.METHODS)
def test_tiny_maps(shape: tuple[int, int], method: str) -> None:
    maps = np.zeros((1, 1, *shape), np.float32)
    maps[0, 0, -1, -1] = 1
    points, _ = heatmaps.decode(maps, method)
    height, width = shape
    assert (points >= -0.5).all()
    assert points[0, 0, 0] <= width - 0.5
    assert points[0, 0, 1] <= height - 0.5


def test_nothing_in_nothing_out() -> None:
    assert heatmaps.render(np.zeros((0, 5, 2)), (8, 8)).shape == (0, 5, 8, 8)
    points, scores = heatmaps.decode(np.zeros((0, 5, 8, 8), np.float32))
    assert (points.shape, scores.shape) == ((0, 5, 2), (0, 5))


def test_layouts_of_input_do_not_matter() -> None:
    maps = heatmaps.render(faces(6, 32).reshape(2, 3, 2), (32, 32))
    expected = heatmaps.decode(maps)[0]
    for other in (np.asfortranarray(maps), maps.astype(">f4"), np.repeat(maps, 2, axis=3)[..., ::2]):
        assert np.array_equal(heatmaps.decode(other)[0], expected)
    read_only = maps.copy()
    read_only.flags.writeable = False
    assert np.array_equal(heatmaps.decode(read_only)[0], expected)


def test_many_threads_at_once() -> None:
    """The GIL is released: calls from several threads run side by side and do not disturb each other."""
    points = faces(64)
    expected = heatmaps.render(points, (96, 96))
    wrong = []

    def work() -> None:
        for _ in range(10):
            maps = heatmaps.render(points, (96, 96))
            if not (np.array_equal(maps, expected) and np.abs(heatmaps.decode(maps)[0] - points).max() < 1e-2):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_is_refused() -> None:
    points = np.zeros((2, 3, 2))
    bad_points = points.copy()
    bad_points[1, 2, 0] = np.nan
    with pytest.raises(DataError, match="keypoint 2 of sample 1 is"):
        heatmaps.render(bad_points, (8, 8))
    for wrong in (np.zeros((2, 3)), np.zeros((2, 3, 3))):
        with pytest.raises(DataError, match=r"keypoints must be \(N, K, 2\)"):
            heatmaps.render(wrong, (8, 8))
    for options in (
        {"sigma": 0},
        {"sigma": [1, 2]},
        {"sigma": np.inf},
        {"stride": 0},
        {"dtype": "int8"},
        {"window": 0},
        {"threads": -1},
    ):
        with pytest.raises(ConfigError):
            heatmaps.render(points, (8, 8), **options)
    with pytest.raises(DataError, match="visibility must be"):
        heatmaps.render(points, (8, 8), visibility=np.ones((3, 2)))
    for method, maps in (("best", np.zeros((1, 1, 2, 2), np.float32)),):
        with pytest.raises(ConfigError, match="method must be one of"):
            heatmaps.decode(maps, method)
    for maps in (np.zeros((1, 2, 2), np.float32), np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 0, 2), np.float32)):
        with pytest.raises(DataError, match="heatmaps must be"):
            heatmaps.decode(maps)


@pytest.mark.parametrize("out", [
    np.zeros((2, 3, 8, 8)),
    np.zeros((2, 3, 8, 9), np.float32),
    np.zeros((2, 3, 8, 16), np.float32)[..., ::2],
    np.zeros((2, 3, 8, 8), ">f4"),
    np.broadcast_to(np.float32(0), (2, 3, 8, 8)),
    np.zeros(1, np.float32),
])  # fmt: skip
def test_out_is_never_silently_converted(out: np.ndarray) -> None:
    with pytest.raises(DataError, match="out must be"):
        heatmaps.render(np.zeros((2, 3, 2)), (8, 8), out=out)


def test_misaligned_memory_is_refused_or_copied() -> None:
    raw = np.zeros(2 * 64 * 4 + 1, np.uint8)
    out = raw[1:].view(np.float32).reshape(1, 2, 8, 8)
    with pytest.raises(DataError, match="aligned"):
        heatmaps.render(np.zeros((1, 2, 2)), (8, 8), out=out)
    out[0, :, 4, 4] = 1
    assert heatmaps.decode(out, "argmax")[0].tolist() == [[[4, 4], [4, 4]]]
