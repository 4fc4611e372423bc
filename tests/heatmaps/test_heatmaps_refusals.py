"""What `render` and `decode` refuse, and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kptool import heatmaps
from kptool.base.errors import ConfigError, DataError

POINTS = np.full((2, 3, 2), 4.0)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"keypoints": np.zeros((3, 2))}, DataError, r"keypoints have shape \(3, 2\), expected \(N, K, 2\)"),
        ({"keypoints": POINTS.astype(str)}, DataError, "keypoints have dtype <U"),
        ({"size": (0, 5)}, ConfigError, r"size is \(0, 5\)"),
        ({"size": (8.5, 5)}, ConfigError, "size is"),
        ({"stride": 0}, ConfigError, "stride is 0"),
        ({"sigma": 0.0}, ConfigError, "sigma is 0.0"),
        ({"sigma": np.nan}, ConfigError, "sigma is nan"),
        ({"sigma": np.ones(2)}, ConfigError, r"sigma has shape \(2,\), expected a number or \(3,\)"),
        ({"window": -1}, ConfigError, "window is -1"),
        ({"threads": -1}, ConfigError, "threads is -1"),
        ({"dtype": "int8"}, ConfigError, "dtype is 'int8', expected one of float32, float16, uint8"),
        ({"visibility": np.ones((2, 2), np.uint8)}, DataError, r"expected whole numbers of shape \(2, 3\)"),
        ({"out": np.empty((2, 3, 8, 8), np.float64)}, ConfigError, "out is float64"),
        (
            {"out": np.empty((2, 3, 8, 9), np.float32)},
            ConfigError,
            "expected a C-contiguous, aligned, writable float32 array",
        ),
        ({"out": np.empty((8, 8, 3, 2), np.float32).T}, ConfigError, "C-contiguous"),
        ({"out": [1]}, ConfigError, "out is list"),
    ],
)
def test_render_refuses(arguments: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        heatmaps.render(**{"keypoints": POINTS, "size": (8, 8), **arguments})


def test_render_names_the_keypoint_that_is_not_finite() -> None:
    points = POINTS.copy()
    points[1, 2, 0] = np.nan
    with pytest.raises(DataError, match=r"keypoint 2 of sample 1 is \(nan, 4.0\)"):
        heatmaps.render(points, (8, 8))


def test_render_refuses_an_array_it_must_not_write() -> None:
    out = np.empty((2, 3, 8, 8), np.float32)
    out.flags.writeable = False
    with pytest.raises(ConfigError, match="writable"):
        heatmaps.render(POINTS, (8, 8), out=out)


@pytest.mark.parametrize(
    ("maps", "method", "error", "sentence"),
    [
        (np.zeros((2, 3, 4), np.float32), "argmax", DataError, r"heatmaps have shape \(2, 3, 4\)"),
        (np.zeros((2, 3, 4, 0), np.float32), "argmax", DataError, "h and w of 1 or more"),
        (np.zeros((2, 3, 4, 4)), "argmax", DataError, "heatmaps have dtype float64"),
        (
            np.zeros((2, 3, 4, 4), np.float32),
            "peak",
            ConfigError,
            "no decoding method 'peak'; choose one of argmax",
        ),
    ],
)
def test_decode_refuses(maps: NDArray[Any], method: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        heatmaps.decode(maps, method)
