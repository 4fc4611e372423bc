"""Unusual arrays are handled correctly or refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kptool import _core, heatmaps
from kptool.base.errors import ConfigError, DataError

Array = NDArray[Any]
POINTS = np.random.default_rng(0).uniform(-2, 20, (3, 4, 2))
SIGMA = np.array([0.7, 1.0, 2.0, 3.5])
FLAGS = np.random.default_rng(1).integers(0, 2, (3, 4)).astype(np.uint8)
SIZE = (17, 19)


def misaligned(array: Array) -> Array:
    return np.frombuffer(b"x" + array.tobytes(), array.dtype, array.size, 1).reshape(array.shape)


def misaligned_writable(array: Array) -> Array:
    return np.frombuffer(bytearray(b"x" + array.tobytes()), array.dtype, array.size, 1).reshape(array.shape)


def swapped(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder())


def strided(array: Array) -> Array:
    return np.repeat(array, 2, axis=-1)[..., ::2]


def backwards(array: Array) -> Array:
    return array[::-1, ..., ::-1].copy()[::-1, ..., ::-1]


def read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: list[Callable[[Array], Array]] = [misaligned, swapped, strided, backwards, read_only, np.asfortranarray]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16"])
def test_what_render_reads_may_lie_in_memory_as_it_likes(layout: Callable[[Array], Array], dtype: str) -> None:
    points = POINTS.astype(dtype)
    expected = heatmaps.render(points, SIZE, SIGMA, visibility=FLAGS)
    flags, sigma = layout(FLAGS.astype(np.int32)), layout(SIGMA[None])[0]
    assert np.array_equal(heatmaps.render(layout(points), SIZE, sigma, visibility=flags), expected)
    assert np.array_equal(heatmaps.Renderer(3, 4, SIZE, sigma)(layout(points), flags), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_what_decode_reads_may_lie_in_memory_as_it_likes(layout: Callable[[Array], Array], dtype: str) -> None:
    maps = heatmaps.render(POINTS, SIZE, SIGMA, dtype=dtype)
    other = layout(maps)
    for method in heatmaps.METHODS:
        for got, expected in zip(heatmaps.decode(other, method), heatmaps.decode(maps, method), strict=True):
            assert np.array_equal(got, expected)


def test_one_value_repeated_without_memory_of_its_own() -> None:
    points = np.broadcast_to(POINTS[:1], (50, 4, 2))
    maps = heatmaps.render(points, SIZE)
    assert (maps == maps[0]).all()
    again = heatmaps.decode(np.broadcast_to(maps[:1], maps.shape))[0]
    assert np.array_equal(again, heatmaps.decode(maps)[0])


@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
@pytest.mark.parametrize("layout", [misaligned_writable, swapped, strided, backwards, read_only, np.asfortranarray])
def test_out_is_never_copied_but_refused_and_stays_as_it_was(layout: Callable[[Array], Array], dtype: str) -> None:
    out = layout(np.full((3, 4, *SIZE), 7, dtype))
    if dtype == "uint8" and layout in (misaligned_writable, swapped):
        assert heatmaps.render(POINTS, SIZE, dtype=dtype, out=out) is out  # no byte order or alignment
        return
    with pytest.raises(ConfigError, match=f"expected a C-contiguous, aligned, writable {dtype} array"):
        heatmaps.render(POINTS, SIZE, dtype=dtype, out=out)
    with pytest.raises((ValueError, TypeError), match="out: "):
        _core.render(POINTS, SIGMA, None, 5.6, out, 1)
    if layout is not read_only:
        with pytest.raises((ValueError, TypeError), match="heatmaps: "):
            _core.decode(out, "argmax", 1)
    assert (out == 7).all()


def test_the_core_refuses_what_render_would_convert() -> None:
    out = np.empty((3, 4, *SIZE), np.float32)
    for bad in (misaligned(POINTS), swapped(POINTS), strided(POINTS), POINTS.astype(np.float32), POINTS[0]):
        with pytest.raises((ValueError, TypeError), match="centers: "):
            _core.render(bad, SIGMA, None, 5.6, out, 1)
    for sigma in (SIGMA[:3], SIGMA.astype(np.float32), *(np.full(4, v) for v in (np.nan, np.inf, 0.0, -1.0, 1e300))):
        with pytest.raises((ValueError, TypeError), match="sigma: "):
            _core.render(POINTS, sigma, None, 5.6, out, 1)
    for flags in (FLAGS[:2], FLAGS.astype(bool), strided(FLAGS)):
        with pytest.raises((ValueError, TypeError), match="visibility: "):
            _core.render(POINTS, SIGMA, flags, 5.6, out, 1)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_an_empty_axis(axis: int, dtype: str) -> None:
    shape = tuple(0 if i == axis else side for i, side in enumerate((3, 4, *SIZE)))
    points, sigma, maps = POINTS[: shape[0], : shape[1]].copy(), SIGMA[: shape[1]], np.zeros(shape, dtype)
    if axis > 1:
        with pytest.raises(ConfigError, match="size is"):
            heatmaps.render(points, (shape[2], shape[3]), dtype=dtype)
        with pytest.raises(DataError, match="h and w of 1 or more"):
            heatmaps.decode(maps)
        for call in (lambda: _core.render(points, sigma, None, 5.6, maps, 1), lambda: _core.decode(maps, "dark", 1)):
            with pytest.raises(ValueError, match="an axis is empty"):
                call()
        return
    assert heatmaps.render(points, SIZE, sigma, dtype=dtype, out=maps) is maps
    assert heatmaps.Renderer(shape[0], shape[1], SIZE, sigma, dtype=dtype)(points).shape == shape
    for method in heatmaps.METHODS:
        coords, scores = heatmaps.decode(maps, method)
        assert coords.shape == (*shape[:2], 2)
        assert scores.shape == shape[:2]


def test_out_may_overlap_what_is_read() -> None:
    """All of the input is read before any output is written."""
    expected = heatmaps.render(POINTS, SIZE, SIGMA, visibility=FLAGS)
    memory = np.zeros(expected.nbytes + 8, np.uint8)[: expected.nbytes]
    out = memory.view(np.float32).reshape(expected.shape)
    points = memory[: POINTS.nbytes].view(np.float64).reshape(POINTS.shape)
    sigma = memory[1024 : 1024 + SIGMA.nbytes].view(np.float64)
    flags = memory[2048 : 2048 + FLAGS.size].reshape(FLAGS.shape)
    points[...], sigma[...], flags[...] = POINTS, SIGMA, FLAGS
    assert heatmaps.render(points, SIZE, sigma, visibility=flags, out=out) is out
    assert np.array_equal(out, expected)
    draw = heatmaps.Renderer(3, 4, SIZE, SIGMA)
    inside = draw.heatmaps.reshape(-1)[: 2 * POINTS.size].view(np.float64).reshape(POINTS.shape)
    inside[...] = POINTS
    assert np.array_equal(draw(inside)[1:], heatmaps.render(POINTS, SIZE, SIGMA)[1:])


def test_a_parser_whose_arrays_overlap_its_text_stays_inside_of_them() -> None:
    memory = np.frombuffer(bytearray(b"1,2 3\n4,5 6\n" * 8), np.uint8)
    floats = memory[:64].view(np.float64).reshape(4, 2)
    done, used, _ = _core.parse_rows(memory, 2, 1, 2, floats, memory[64:72].reshape(4, 2), True)
    assert done <= 4
    assert used <= memory.size


def test_a_renderer_whose_array_got_another_shape_draws_no_more() -> None:
    draw = heatmaps.Renderer(2, 3, (8, 8))
    draw.heatmaps.resize((48, 8, 1, 1), refcheck=False)
    with pytest.raises(ValueError, match="out: its shape was changed"):
        draw(np.zeros((48, 8, 2)))


@pytest.mark.parametrize("value", [1e300, -1e300, 1.7e308, -1.7e308, 2.0**31, -(2.0**63), 5e-324])
@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_keypoints_of_any_size(value: float, dtype: str) -> None:
    for stride in (1, 7, 10**30):
        for point in ([value, 3.0], [3.0, value], [value, value]):
            maps = heatmaps.render(np.array([[point]]), SIZE, stride=stride, dtype=dtype, window=None)
            if abs(value) > 1 and stride < 10:
                assert not maps.any()


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_keypoints_that_are_no_numbers(value: float) -> None:
    """The Python interface refuses them; the core itself would leave the maps empty."""
    points = POINTS.copy()
    points[1, 2, 1] = value
    with pytest.raises(DataError, match="keypoint 2 of sample 1 is"):
        heatmaps.render(points, SIZE)
    with pytest.raises(DataError, match="keypoint 2 of sample 1 is"):
        heatmaps.Renderer(3, 4, SIZE)(points)
    for dtype in heatmaps.DTYPES:
        out = np.ones((3, 4, *SIZE), dtype)
        for window in (5.6, np.inf, np.nan):
            _core.render(points, SIGMA, None, window, out, 1)
            assert not out[1, 2].any()


@pytest.mark.parametrize("size", [(65537, 1), (1, 2**40), (2**70, 1), (-1, 5), (0, 0)])
def test_sizes_no_heatmap_has(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="size is"):
        heatmaps.render(POINTS, size)


def test_what_no_memory_holds_is_refused_before_anything_is_touched() -> None:
    with pytest.raises(MemoryError):
        heatmaps.render(np.zeros((1 << 19, 1, 2)), (65536, 65536))
    for shape in ((1 << 32, 1 << 32, 4, 4), (1 << 62, 1, 1, 1), (-1, 1 << 21, 1, 1), (2**62 + 2**20, 4, 1, 1)):
        with pytest.raises((MemoryError, ValueError)):
            _core.empty(shape, np.dtype("float32"))


def test_other_arguments_out_of_bounds() -> None:
    for dtype in (object, np.float64, "V8"):
        with pytest.raises(ValueError, match="dtype: not float32"):
            _core.empty((1 << 20,), np.dtype(dtype))
    assert np.array_equal(heatmaps.render(POINTS, SIZE, threads=2**70), heatmaps.render(POINTS, SIZE))


LAST = (1, 0, 32768, 65530)  # with 2^31 + 2^16 pixels per map, pixel 2^31 + 65530 of the second map


def test_a_map_of_more_pixels_than_a_32_bit_number_counts() -> None:
    """Most of the 4 GiB are never touched, and so use no physical memory."""
    maps = np.zeros((2, 1, 32769, 65536), np.uint8)
    maps[LAST] = 200
    for method in ("argmax", "gaussian"):
        coords, scores = heatmaps.decode(maps[1:], method)
        assert coords.tolist() == [[[65530, 32768]]]
        assert scores[0, 0] == np.float32(200 / 255)
    canvas = _core.Canvas(maps)
    for x in (65530.0, 65533.0):
        canvas.draw(np.array([[[-1e6, 0.0]], [[x, 32768.0]]]), np.ones(1), None, 5.6, 1)
        assert np.flatnonzero(maps[1, 0, 32768, 65500:])[[0, -1]].tolist() == [x - 65503, min(x - 65497, 35)]


def test_more_maps_than_a_32_bit_number_counts_pixels() -> None:
    maps = np.zeros((32769, 1, 256, 256), np.uint8)
    maps[-1, 0, 100, 200] = 255
    coords, scores = heatmaps.decode(maps[32760:], "argmax")
    assert coords[-1].tolist() == [[200, 100]]
    coords, scores = heatmaps.decode(maps, "argmax")
    assert coords[-1].tolist() == [[200, 100]]
    assert np.flatnonzero(scores).tolist() == [32768]


@pytest.mark.slow
def test_a_drawing_of_more_pixels_than_a_32_bit_number_counts() -> None:
    maps = heatmaps.render(np.array([[[65530.0, 32768.0]]]), (32769, 65536), dtype="uint8")
    assert maps[0, 0, 32768, 65530] == 255
    assert heatmaps.decode(maps)[0][0, 0] == pytest.approx([65530, 32768], abs=0.01)
    del maps
    heatmaps.clear_pool()


def test_a_text_of_more_bytes_than_a_32_bit_number_counts() -> None:
    text = np.zeros((1 << 31) + 9, np.uint8)
    text[:4] = np.frombuffer(b"5,6\n", np.uint8)
    floats, images = np.zeros((2, 2)), np.zeros((2, 0), np.uint8)
    assert _core.parse_rows(text, 2, -1, 0, floats, images, False) == (1, 4, None)
    assert _core.parse_rows(text, 2, -1, 0, floats, images, True) == (1, 4, (1, 0, "not-a-number", 0))
