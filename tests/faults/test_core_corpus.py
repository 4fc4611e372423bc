"""Replays the corpus of the core's fuzzers through the Python bindings: each input stays within its bounds.

The inputs are in `fuzz_core/*.zip`, and are decoded like in the harness of the same name.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kptool import _core

pytestmark = pytest.mark.faults
CORPUS = Path(__file__).parent / "fuzz_core"
DTYPES = ("float32", "float16", "uint8")


class Input:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, dtype: str) -> Any:
        size = np.dtype(dtype).itemsize
        part, self.data = self.data[:size], self.data[size:]
        return np.frombuffer(part.ljust(size, b"\0"), dtype)[0]

    def between(self, low: int, high: int) -> int:
        return low + int(self.take("<u2")) % (high - low + 1)


def inputs(name: str) -> Iterator[Input]:
    with zipfile.ZipFile(CORPUS / f"{name}.zip") as packed:
        assert packed.namelist()
        for member in packed.namelist():
            yield Input(packed.read(member))


def test_texts_are_parsed_alike_in_one_piece_and_in_two() -> None:
    for given in inputs("parse"):
        columns, rows, cut = given.between(1, 6), given.between(0, 6), int(given.take("<u2"))
        pixel_column = given.between(0, columns) - 1
        pixels = 0 if pixel_column < 0 else given.between(0, 200)
        text = given.data

        def parse(part: bytes, final: bool, first: int = 0) -> tuple[int, int, Any]:
            return _core.parse_rows(part, columns, pixel_column, pixels, floats[first:], images[first:], final)  # noqa: B023

        floats, images = np.zeros((rows, columns)), np.zeros((rows, pixels), np.uint8)
        done, used, error = parse(text, True)
        whole = floats[:done].copy(), images[:done].copy()
        assert not np.isinf(whole[0]).any()
        part, begin, wrong = parse(text[:cut], False)
        if wrong is None:
            more, end, wrong = parse(text[begin:], True, part)
            part, begin = part + more, begin + end
        assert (part, begin, wrong is None) == (done, used, error is None)
        assert np.array_equal(floats[:done], whole[0], equal_nan=True)
        assert np.array_equal(images[:done], whole[1])


def test_maps_of_any_bits_give_points_inside() -> None:
    for given in inputs("decode"):
        dtype = np.dtype(DTYPES[int(given.take("u1")) % 3])
        height, width, count = given.between(1, 70), given.between(1, 70), given.between(0, 3)
        step = int(given.take("u1")) % 40 + 1
        values = np.zeros(count * height * width, dtype)
        some = np.frombuffer(given.data, dtype, min(len(given.data) // dtype.itemsize, len(values[::step])))
        values[::step][: len(some)] = some
        for method in _core.METHODS:
            coords, scores = _core.decode(values.reshape(count, 1, height, width), method, 1)
            assert ((coords >= -0.5) & (coords <= [width - 0.5, height - 0.5])).all()
            assert (np.isfinite(scores) & (scores >= 0)).all()


def scene(given: Input, count: int, keypoints: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], float]:
    kind = int(given.take("u1"))
    centers = np.array(
        [given.take("<f8") if kind & 1 else given.take("<i2") / 128 for _ in range(2 * count * keypoints)], np.float64
    )
    sigma = np.zeros(keypoints)
    for k in range(keypoints):
        value = float(given.take("<f8"))
        sigma[k] = value if 0.1 <= value <= 1000 else 0.1 + float(given.take("u1"))
    flags = np.array([given.take("u1") % 4 for _ in range(count * keypoints)], np.uint8)
    window = 5.6 if kind & 2 else abs(float(given.take("<f8")))
    return centers.reshape(count, keypoints, 2), sigma, flags.reshape(count, keypoints), window


def test_scenes_are_redrawn_as_they_are_drawn() -> None:
    for given in inputs("render"):
        kind = int(given.take("u1")) % 4
        if kind == 3:  # the writer has no binding
            continue
        count, keypoints, height, width = (given.between(*ends) for ends in ((0, 3), (1, 3), (1, 80), (1, 80)))
        drawn, again = np.ones((2, count, keypoints, height, width), DTYPES[kind])
        again[...] = 0
        canvas = _core.Canvas(again)
        for turn in range(2):
            centers, sigma, flags, window = scene(given, count, keypoints)
            visible = None if turn == 0 else flags
            _core.render(centers, sigma, visible, window, drawn, 1)
            canvas.draw(centers, sigma, visible, window, 1)
            assert np.array_equal(drawn, again)
            assert kind == 2 or ((drawn >= 0) & (drawn <= 1)).all()
