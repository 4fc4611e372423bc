"""Every peak of a map in torch: the same as the C++ core's, whatever the shapes of flat tops, ties, borders and types."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from kptool import heatmaps
from kptool.base.errors import ConfigError, DataError
from kptool.network import maxima

Array = NDArray[Any]
Found = tuple[Any, ...]


def same(found: Found, maps: Array, *arguments: Any, method: str = "argmax", pixels: float = 1e-3) -> None:
    """Check what was found in maps against the core's result for them."""
    coords, scores, counts = heatmaps.find_peaks(maps, *arguments, method=method)
    assert np.array_equal(found[2], counts)
    assert np.array_equal(found[1], scores)
    assert np.abs(np.asarray(found[0]) - coords).max(initial=0) <= pixels


def search(maps: Array, threshold: float, distance: int, most: int, method: str = "argmax") -> Found:
    """The result of torch's operations, on the CPU."""
    return maxima.search(torch.from_numpy(maps), threshold, distance, most, method)


def as_type(maps: Array, dtype: str) -> Array:
    return np.clip(np.rint(maps * 255), 0, 255).astype(np.uint8) if dtype == "uint8" else maps.astype(dtype)


def objects(seed: int, shape: tuple[int, int] = (40, 36)) -> Array:
    """Maps (3, 2, h, w) of Gaussians, also at and beyond borders, the last sample with flat tops."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-2, (shape[1] + 1, shape[0] + 1), (3, 4, 2, 2))
    maps = heatmaps.render(points, shape, (1.5, 3.0))
    maps[2] = np.minimum(maps[2], 0.7)
    return maps


@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
@pytest.mark.parametrize("distance", [1, 3])
def test_they_are_the_cores(dtype: str, distance: int) -> None:
    rng = np.random.default_rng(distance)
    for shape in ((2, 2, 23, 17), (1, 1, 1, 9), (2, 1, 8, 1), (1, 1, 1, 1)):
        for maps in (rng.normal(size=shape), rng.integers(0, 4, shape) / 3, np.clip(rng.normal(size=shape) * 2, 0, 1)):
            for threshold in (0.05, 1 / 3, 1.0):
                stored = as_type(maps, dtype)
                same(search(stored, threshold, distance, 30), stored, threshold, distance, 30)


@pytest.mark.parametrize("method", heatmaps.PEAK_METHODS)
@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_they_lie_between_pixels_where_the_cores_do(method: str, dtype: str) -> None:
    maps = as_type(objects(0), dtype)
    same(search(maps, 0.2, 2, 12, method), maps, 0.2, 2, 12, method=method)


def winding(size: int) -> Iterator[Array]:
    """Connected areas whose pixels are far apart along them: a spiral, a snake, a comb, and areas of random shape."""
    spiral = np.zeros((size, size), np.float32)
    y, x, dy, dx = 0, 0, 0, 1
    for side in (n for n in range(size - 1, 0, -2) for _ in (0, 1)):
        for _ in range(side):
            spiral[y, x] = 1
            y, x = y + dy, x + dx
        dy, dx = dx, -dy
    yield spiral
    snake = np.zeros((size, size), np.float32)
    snake[::2] = 1
    snake[1::4, -1] = snake[3::4, 0] = 1
    yield snake
    comb = np.zeros((size, size), np.float32)
    comb[:, ::2] = 1
    comb[-1] = 1
    yield comb
    for share in (0.5, 0.6):
        yield (np.random.default_rng(0).random((size, size)) < share).astype(np.float32)


@pytest.mark.parametrize("distance", [1, 2])
def test_a_flat_top_of_any_shape_is_one_peak(distance: int) -> None:
    for one in winding(33):
        for area in (one, one[::-1], one.T[:, ::-1]):
            maps = np.ascontiguousarray(area)[None, None]
            same(search(maps, 0.5, distance, 200), maps, 0.5, distance, 200)
            maps = maps.copy()
            maps[0, 0, 20, 20] = 2  # which is higher than one end
            same(search(maps, 0.5, distance, 200), maps, 0.5, distance, 200)


def test_of_equal_peaks_near_each_other_the_first_remains() -> None:
    maps = np.zeros((3, 1, 24, 30), np.float32)
    maps[0, 0, 4, [3, 6, 9, 20]] = 0.5
    maps[1, 0, ::3, ::2] = 0.7
    maps[2, 0, np.indices((24, 30)).sum(0) % 2 == 0] = 0.7
    for distance in (1, 2, 5):
        same(search(maps, 0.3, distance, 400), maps, 0.3, distance, 400)


def test_maps_without_peaks_and_more_peaks_than_are_wanted() -> None:
    maps = np.zeros((7, 1, 12, 10), np.float32)
    maps[:, 0, 3, 3] = maps[:, 0, 3, 8] = 0.8
    maps[0], maps[1], maps[2, 0, 3, 3] = 0.6, 0, 0.9
    maps[3:7, 0, 9, 9] = np.nan, -np.nan, np.inf, -np.inf
    for dtype in ("float32", "float16"):
        stored = maps.astype(dtype)
        for most in (1, 2, 130):
            same(search(stored, 0.5, 2, most, "dark"), stored, 0.5, 2, most, method="dark")
    assert search(maps[:0], 0.5, 2, 5)[0].shape == (0, 1, 5, 2)


def test_a_threshold_is_exact() -> None:
    one = np.zeros((1, 1, 5, 50), np.float32)
    one[..., 2, 5::10] = [0.3, 0.5, 0.2, 0.5, 0.4]
    for dtype in heatmaps.DTYPES:
        maps = as_type(one, dtype)
        for threshold in (float(np.float32(0.3)), float(np.float16(0.3)), 102 / 255, 0.4):
            for exact in (np.nextafter(threshold, 0), threshold, np.nextafter(threshold, 1)):
                same(search(maps, exact, 1, 9), maps, exact, 1, 9)


def test_tensors_on_the_cpu_and_other_types() -> None:
    maps = torch.from_numpy(objects(3)).requires_grad_()
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        stored = maps.to(dtype)
        found = maxima.find_peaks(stored, 0.3, 2, 9)
        same(found, stored.detach().float().numpy(), 0.3, 2, 9, method="gaussian", pixels=0)
        same(maxima.search(stored, 0.3, 2, 9, "dark"), stored.detach().float().numpy(), 0.3, 2, 9, method="dark")
    for wrong in (torch.zeros(4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.int64)):
        with pytest.raises(DataError, match="expected \\(N, K, h, w\\), floating-point or uint8"):
            maxima.find_peaks(wrong)
    with pytest.raises(ConfigError, match="at most 1;"):
        maxima.find_peaks(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), 1.5)
    with pytest.raises(ConfigError, match="no method 'centroid-global'"):
        maxima.find_peaks(torch.zeros(1, 1, 4, 4), method="centroid-global")


@pytest.mark.long
@pytest.mark.parametrize("method", heatmaps.PEAK_METHODS)
def test_nothing_waits_for_values(method: str) -> None:
    """A fake tensor has no values: reading one, or a shape that depends on them, raises."""
    with FakeTensorMode():
        coords, scores, counts = maxima.search(torch.empty(2, 3, 20, 30), 0.3, 2, 7, method)
    assert (coords.shape, scores.shape, counts.shape) == ((2, 3, 7, 2), (2, 3, 7), (2, 3))
    assert (coords.dtype, scores.dtype, counts.dtype) == (torch.float32, torch.float32, torch.int64)


@pytest.mark.long
def test_compiled_without_breaks() -> None:
    compiled = torch.compile(maxima.find_peaks, fullgraph=True, backend="eager")
    maps = objects(4)
    same(compiled(torch.from_numpy(maps), 0.3, 2, 9), maps, 0.3, 2, 9, method="gaussian")


class Graph(nn.Module):
    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return maxima.find_peaks(maps, 0.3, 2, 9)


@pytest.mark.slow
def test_in_a_graph(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where there is no peak at all, and where ties and flat tops need many rounds."""
    import onnxruntime

    size = (33, 33)
    with warnings.catch_warnings(), caplog.at_level(logging.CRITICAL):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Graph(),
            (torch.rand(2, 2, *size),),
            dynamo=True,
            verbose=False,
            opset_version=18,
            optimize=False,  # which takes as long as all the rest
            input_names=["maps"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
        )
    assert program is not None
    program.save(tmp_path / "peaks.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "peaks.onnx")
    areas = np.stack([np.stack([one, one.T]) for one in winding(33)])
    ties = np.zeros((1, 2, *size), np.float32)
    ties[0, 0, ::2, ::2] = ties[0, 1, 1::3, ::2] = 0.7
    lost = objects(5, size)
    lost[1, 0, 3, 3] = np.nan
    for maps in (objects(6, size), areas, ties, lost, np.zeros((1, 2, *size), np.float32)):
        same(tuple(session.run(None, {"maps": maps})), maps, 0.3, 2, 9, method="gaussian")
