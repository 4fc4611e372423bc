"""Several peaks in one map: core, reference and maximum filters agree; flat tops, borders, ties, limits and threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference_peaks
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.base.errors import ConfigError, DataError

Array = NDArray[Any]
LOCATED = ("argmax", "centroid", "dark", "gaussian")


def peaks(one: Array, threshold: float = 0.3, distance: int = 2, **options: Any) -> list[tuple[list[float], float]]:
    """Points and scores of the peaks of one map."""
    coords, scores, counts = heatmaps.find_peaks(one[None, None], threshold, distance, **options)
    count = int(counts[0, 0])
    assert not coords[0, 0, count:].any()
    assert not scores[0, 0, count:].any()
    return list(zip(coords[0, 0, :count].tolist(), scores[0, 0, :count].tolist(), strict=True))


def scenes(seed: int) -> list[tuple[Array, tuple[str, ...]]]:
    """Maps, and the methods that are well-conditioned on them: noise, few levels, flat areas, Gaussians."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 24, 2)
    shape = (height, width)
    drawn = heatmaps.render(rng.uniform(-2, (width + 1, height + 1), (1, 4, 1, 2)), shape, 1.5)[0, 0]
    return [
        (rng.normal(size=shape), ("argmax",)),
        (rng.integers(0, 4, shape) / 3, ("argmax",)),
        (np.clip(rng.normal(size=shape) * 2, 0, 1), ("argmax",)),
        (drawn.astype(np.float64), LOCATED),
    ]


def as_type(one: Array, dtype: str) -> Array:
    return np.clip(np.rint(one * 255), 0, 255).astype(np.uint8) if dtype == "uint8" else one.astype(dtype)


@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
@pytest.mark.parametrize("distance", [1, 3])
def test_they_are_those_of_the_slow_definition(dtype: str, distance: int) -> None:
    for seed in range(5):
        for one, methods in scenes(seed):
            stored = as_type(one, dtype)
            shares = stored.astype(np.float64) / (255 if dtype == "uint8" else 1)
            for method in methods:
                for threshold in (0.05, 1 / 3, 1.0):
                    expected = reference_peaks.find_peaks(shares, threshold, distance, method)
                    found = peaks(stored, threshold, distance, method=method)
                    assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-6)
                    for (point, _), (other, _) in zip(found, expected, strict=True):
                        assert point == pytest.approx(other, abs=1e-4)


def test_without_ties_they_are_where_a_maximum_filter_changes_nothing() -> None:
    """The usual way, in torch; `scipy.ndimage.maximum_filter` of size 2 d + 1 is the same filter."""
    import torch

    maps = np.random.default_rng(0).permutation(3 * 40 * 50).reshape(3, 1, 40, 50).astype(np.float32) / 6000
    for distance in (1, 2, 5):
        highest = torch.nn.functional.max_pool2d(torch.from_numpy(maps), 2 * distance + 1, 1, distance).numpy()
        coords, scores, counts = heatmaps.find_peaks(maps, 0.5, distance, 500, method="argmax")
        for n in range(3):
            y, x = np.nonzero((maps[n, 0] == highest[n, 0]) & (maps[n, 0] >= 0.5))
            order = np.argsort(-maps[n, 0, y, x])
            count = counts[n, 0]
            assert coords[n, 0, :count].tolist() == np.stack([x, y], 1)[order].tolist()
            assert np.array_equal(scores[n, 0, :count], maps[n, 0, y, x][order])


def test_objects_apart_are_found_between_pixels() -> None:
    truth = np.array([[20.3, 15.6], [40.75, 18.2], [-0.3, 47.1], [59.2, 0.4]])
    maps = heatmaps.render(truth[None, :, None], (48, 60), 2.0)
    for dtype, near in (("float32", 2e-4), ("float16", 5e-3), ("uint8", 0.03)):
        found = peaks(as_type(maps[0, 0], dtype))
        assert len(found) == len(truth)
        assert all(np.abs(truth - point).max(1).min() < near for point, _ in found)
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_a_flat_top_is_one_peak_in_its_middle() -> None:
    one = np.zeros((20, 30), np.float32)
    one[4:9, 5:14] = 1
    assert peaks(one, distance=1) == [([9.0, 6.0], 1.0)]
    one[6, 20] = 1.5  # within 7 of the area's right end, which is not within 5
    assert [point for point, _ in peaks(one, distance=5, method="argmax")] == [[20.0, 6.0], [5.0, 4.0]]
    assert [point for point, _ in peaks(one, distance=7, method="argmax")] == [[20.0, 6.0]]


def test_of_equal_peaks_within_the_distance_the_first_is_kept() -> None:
    one = np.zeros((9, 30), np.float32)
    one[4, [3, 6, 9, 20]] = 0.5
    assert [point[0] for point, _ in peaks(one, distance=2, method="argmax")] == [3, 6, 9, 20]
    assert [point[0] for point, _ in peaks(one, distance=3, method="argmax")] == [3, 9, 20]
    assert [point[0] for point, _ in peaks(one, distance=6, method="argmax")] == [3, 20]


def test_a_ring_is_one_peak() -> None:
    y, x = np.mgrid[:15, :15]
    ring = ((np.hypot(x - 7, y - 7) < 6) & (np.hypot(x - 7, y - 7) > 4)).astype(np.float32)
    assert len(peaks(ring, distance=1)) == 1


def test_the_highest_are_kept_and_only_those_that_reach_the_threshold() -> None:
    one = np.zeros((5, 50), np.float32)
    one[2, 5::10] = [0.3, 0.5, 0.2, 0.5, 0.4]
    assert [point[0] for point, _ in peaks(one, 0.3, 1, max_count=3, method="argmax")] == [15, 35, 45]
    threshold = float(np.float32(0.3))
    assert len(peaks(one, threshold, 1)) == 4
    assert len(peaks(one, np.nextafter(threshold, 1), 1)) == 3
    half, byte = as_type(one, "float16"), as_type(one, "uint8")
    assert [len(peaks(half, t, 1)) for t in (float(np.float16(0.3)), float(np.float16(0.3)) + 1e-9)] == [4, 3]
    assert [len(peaks(byte, t, 1)) for t in (102 / 255, np.nextafter(102 / 255, 1))] == [3, 2]


@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_maps_without_peaks(dtype: str) -> None:
    for size in ((1, 1), (7, 9)):
        assert peaks(np.full(size, 200, dtype) if dtype == "uint8" else np.full(size, 0.7, dtype)) == []
        assert peaks(np.zeros(size, dtype)) == []
    if dtype != "uint8":
        for value in (np.nan, -np.nan, np.inf, -np.inf):
            one = np.zeros((40, 40), dtype)
            one[3, 3] = 1
            assert len(peaks(one)) == 1
            one[30, 30] = value
            assert peaks(one) == []


def test_the_result_depends_neither_on_threads_nor_on_layout() -> None:
    maps = np.random.default_rng(1).random((9, 3, 64, 80), np.float32)
    first = heatmaps.find_peaks(maps, 0.9, 2, 50, threads=1)
    for other in (maps, np.asfortranarray(maps), maps.astype(">f4")):
        for threads in (0, 2, 5):
            found = heatmaps.find_peaks(other, 0.9, 2, 50, threads=threads)
            assert all(np.array_equal(a, b) for a, b in zip(first, found, strict=True))
    assert heatmaps.find_peaks(maps[:0])[0].shape == (0, 3, 100, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 0}, "threshold is 0, expected above 0"),
        ({"threshold": float("nan")}, "threshold is nan"),
        ({"min_distance": 0}, "min_distance is 0, expected a whole number from 1 to 65536"),
        ({"max_count": 1.5}, "max_count is 1.5"),
        ({"method": "centroid-global"}, "no method 'centroid-global' to locate a peak"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        heatmaps.find_peaks(np.zeros((1, 1, 4, 4)).astype(np.float32), **options)


def test_wrong_maps() -> None:
    with pytest.raises(ConfigError, match="at most 1;"):
        heatmaps.find_peaks(np.zeros((1, 1, 4, 4), np.uint8), 1.5)
    with pytest.raises(DataError, match="expected \\(N, K, h, w\\)"):
        heatmaps.find_peaks(np.zeros((4, 4), np.float32))


@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_several_instances_are_the_largest_of_each(dtype: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        samples, instances, keypoints = rng.integers(1, 4, 3)
        points = rng.uniform(-10, 50, (samples, instances, keypoints, 2))
        seen, sigma = rng.integers(0, 3, points.shape[:3]), rng.uniform(0.5, 4, keypoints)
        stride = int(rng.integers(1, 4))
        found = heatmaps.render(points, (31, 41), sigma, stride=stride, visibility=seen, dtype=dtype)
        each = [
            heatmaps.render(points[:, m], (31, 41), sigma, stride=stride, visibility=seen[:, m], dtype=dtype)
            for m in range(instances)
        ]
        assert np.array_equal(found, np.max(each, 0))
    assert not heatmaps.render(np.zeros((1, 0, 2, 2)), (4, 4), dtype=dtype).any()


def test_an_instance_with_a_point_that_is_no_number() -> None:
    points = np.zeros((2, 3, 4, 2))
    points[1, 2, 3, 0] = np.inf
    with pytest.raises(DataError, match="keypoint 3 of sample 1, instance 2, is"):
        heatmaps.render(points, (8, 8))
