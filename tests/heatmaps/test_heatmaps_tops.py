"""Flat-topped peaks, ridges, and extreme values: core, torch and reference agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kptool import heatmaps, plugins

Array = NDArray[Any]
Y, X = np.mgrid[:41, :41]
SUB_PIXEL = ("centroid", "dark", "gaussian")


def core(maps: Array, method: str) -> Array:
    return heatmaps.decode(maps, method)[0]


def in_torch(maps: Array, method: str) -> Array:
    shares = maps / np.float32(255) if maps.dtype == np.uint8 else maps
    return plugins.load_decoder(method).function(torch.from_numpy(shares))[0].numpy()


def slowly(maps: Array, method: str) -> Array:
    return reference.decode(maps, method)[0]


EVERYWHERE = pytest.mark.parametrize("decode", [core, in_torch, slowly])


def disc(x: float, y: float, radius: float) -> Array:
    return ((X - x) ** 2 + (Y - y) ** 2 <= radius**2).astype(np.float32)


def rectangle(x0: int, x1: int, y0: int, y1: int) -> Array:
    """A map of zeros with ones from the first to the last of the given columns and rows."""
    return ((x0 <= X) & (x1 >= X) & (y0 <= Y) & (y1 >= Y)).astype(np.float32)


def bump(x: float, y: float, sigma: float, height: float = 1.0) -> Array:
    return (height * np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * sigma**2))).astype(np.float32)


def as_type(maps: Array, dtype: str) -> Array:
    """Maps (n, 41, 41) as (n, 1, 41, 41) with the given dtype."""
    stored = np.rint(255 * np.clip(maps, 0, 1)) if dtype == "uint8" else maps
    return stored.astype(dtype)[:, None]


TOPS = {
    (20, 20): disc(20, 20, 5),
    (18.5, 21): rectangle(17, 20, 19, 23),
    (9, 12.5): rectangle(2, 16, 12, 13),
    (20, 30): 0.6 * disc(20, 30, 1),
    (30, 7): rectangle(30, 30, 1, 13),
    (2.5, 1): rectangle(0, 5, 0, 2),
    (37.5, 40): rectangle(35, 40, 40, 40),
    (20, 20.5): rectangle(0, 40, 1, 40),
    (20.5, 20): rectangle(20, 21, 20, 20),
    (10.5, 30.5): rectangle(10, 11, 30, 31),
}
"""Decoded to their middle, some at borders."""


@EVERYWHERE
@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_a_flat_top_decodes_to_its_middle(decode: Callable[..., Array], dtype: str) -> None:
    maps = as_type(np.stack(list(TOPS.values())), dtype)
    for method in ("gaussian", "dark"):
        assert np.abs(decode(maps, method)[:, 0] - np.array(list(TOPS))).max() <= 1e-3
    # The centroid's window is centred on a pixel, and shrinks symmetrically at a border.
    assert np.abs(decode(maps, "centroid")[:5, 0] - np.array(list(TOPS))[:5]).max() <= 1e-3
    assert np.abs(decode(maps, "centroid")[:, 0] - np.array(list(TOPS))).max() <= 0.51


def test_a_pixel_at_the_floor_of_a_fit_is_left_out() -> None:
    """0.2 times 195 is 39: whether that pixel counts must not depend on how a division is rounded."""
    map_ = np.rint(195 * bump(12.3, 9.6, 2.2)).astype(np.uint8)
    map_[10, 12], map_[12:14, 10:16] = 195, 39
    assert np.abs(core(map_[None, None], "gaussian") - slowly(map_[None, None], "gaussian")).max() <= 1e-3


@EVERYWHERE
def test_argmax_stays_the_first_of_the_largest_pixels(decode: Callable[..., Array]) -> None:
    assert decode(TOPS[20, 20][None, None], "argmax").tolist() == [[[20, 15]]]


@EVERYWHERE
@pytest.mark.parametrize("method", SUB_PIXEL)
def test_of_equal_peaks_apart_the_first_counts(decode: Callable[..., Array], method: str) -> None:
    maps = np.stack([disc(9, 12, 3) + disc(31, 28, 4), bump(9, 12, 1.5) + bump(31, 28, 1.5)])[:, None]
    assert np.abs(decode(maps, method)[:, 0] - [9, 12]).max() < 1e-3


@EVERYWHERE
@pytest.mark.parametrize(("sigma", "height"), [(1.5, 2.0), (2.0, 4.0), (3.0, 1.5), (6.0, 2.0), (4.0, 10.0)])
def test_a_gaussian_that_was_cut_off_decodes_where_it_is(
    decode: Callable[..., Array], sigma: float, height: float
) -> None:
    points = np.random.default_rng(3).uniform(14, 26, (12, 2))
    maps = as_type(np.stack([bump(x, y, sigma, height) for x, y in points]), "uint8")
    assert (maps == 255).sum((1, 2, 3)).min() > 4
    for method, limit in (("gaussian", 0.01), ("centroid", 0.15), ("dark", 0.5)):
        assert np.abs(decode(maps, method)[:, 0] - points).max() < limit, method


@EVERYWHERE
def test_one_that_was_cut_off_at_a_border_too(decode: Callable[..., Array]) -> None:
    points = np.array([[-0.3, 20.2], [0.4, 40.2], [33.3, 0.1]])
    maps = as_type(np.stack([bump(x, y, 3.0, 3.0) for x, y in points]), "uint8")
    assert np.abs(decode(maps, "gaussian")[:, 0] - points).max() < 0.02


@EVERYWHERE
def test_what_lies_beside_a_flat_top_does_not_draw_it_away(decode: Callable[..., Array]) -> None:
    one = np.maximum(disc(15, 20, 5), 0.9 * disc(24, 20, 3))
    x, y = decode(one[None, None], "gaussian")[0, 0]
    assert abs(x - 15) < 1
    assert abs(y - 20) < 0.01


def ridge() -> Array:
    """exp of a log map about (20, 20) with almost no curvature along one diagonal, and a slope along it."""
    log = np.full((41, 41), -9.0)
    e, ee, diagonal = -0.9, -2.0, -0.001
    log[18:23, 20], log[20, 18:23] = [ee, -1.1, 0, e, ee], [ee, -1.1, 0, e, ee]
    log[19, 19] = log[21, 21] = diagonal
    log[19, 21] = log[21, 19] = -2.0008
    return np.exp(log).astype(np.float32)


@EVERYWHERE
def test_dark_takes_no_step_of_more_than_a_pixel(decode: Callable[..., Array]) -> None:
    noise = np.random.default_rng(0).random((50, 41, 41)).astype(np.float32)
    maps = np.concatenate([ridge()[None], noise])[:, None]
    steps = np.linalg.norm(decode(maps, "dark") - decode(maps, "argmax"), axis=-1)[:, 0]
    assert steps[0] == pytest.approx(1, abs=1e-5)
    assert steps.max() <= 1 + 1e-5


def tops_at_random() -> Array:
    rng = np.random.default_rng(7)
    maps = []
    for _ in range(25):
        x, y = rng.uniform(-2, 43, 2)
        x0, y0 = rng.integers(0, 38, 2)
        maps += [disc(x, y, rng.uniform(1, 9)), np.clip(bump(x, y, rng.uniform(0.5, 6), rng.uniform(1, 8)), 0, 1)]
        maps += [0.7 * rectangle(x0, x0 + rng.integers(0, 9), y0, y0 + rng.integers(0, 9)), rng.random((41, 41)) > 0.5]
        maps += [np.minimum(disc(x, y, 4) + rng.integers(0, 4, (41, 41)) / 4, 1)]
    return np.stack([one for one in maps if one.any()])


@pytest.mark.parametrize("dtype", heatmaps.DTYPES)
def test_core_torch_and_reference_agree_on_any_top(dtype: str) -> None:
    maps = as_type(tops_at_random(), dtype)
    for method in heatmaps.METHODS:
        expected = slowly(maps, method)
        assert np.abs(core(maps, method) - expected).max() < 1e-3, method
        assert np.abs(in_torch(maps, method) - expected).max() < 1e-3, method
        assert np.array_equal(heatmaps.decode(maps, method, threads=3)[0], heatmaps.decode(maps, method, threads=1)[0])


@pytest.mark.parametrize("method", heatmaps.METHODS)
def test_values_of_any_size(method: str) -> None:
    one = bump(20.25, 19.5, 2.0)
    for scale in (3e38, 1e-6):
        maps = (one * np.float32(scale))[None, None]
        assert np.abs(core(maps, method) - core(one[None, None], method)).max() < 0.01
        assert np.abs(in_torch(maps, method) - core(maps, method)).max() < 1e-3
        assert heatmaps.decode(maps, method)[1][0, 0] == maps.max()
    half = (60_000 * one).astype(np.float16)[None, None]
    assert np.abs(core(half, method) - core(one[None, None], method)).max() < 0.01


@pytest.mark.parametrize("method", heatmaps.METHODS)
def test_maps_without_a_peak_give_their_centre_in_torch_too(method: str) -> None:
    maps = np.zeros((7, 1, 6, 9), np.float32)
    maps[1:] = np.array([0.75, np.nan, np.inf, -np.inf, -1, 0.5])[:, None, None, None]
    maps[6, 0, 2, 3] = np.nan
    points, scores = plugins.load_decoder(method).function(torch.from_numpy(maps))
    assert (points == torch.tensor([4, 2.5])).all()
    assert (scores == 0).all()
    assert np.array_equal(core(maps, method), points.numpy())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # about the exporter's own internals
@pytest.mark.parametrize("method", plugins.names("decoders"))
def test_an_exported_decoder_agrees(method: str, tmp_path: Path) -> None:
    import onnxruntime

    class Alone(nn.Module):
        def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
            return plugins.load_decoder(method).function(maps)

    maps = as_type(tops_at_random(), "float32")
    path = tmp_path / "decoder.onnx"
    torch.onnx.export(Alone(), (torch.from_numpy(maps[:2]),), str(path), dynamo=True, verbose=False,
                      input_names=["maps"], dynamic_shapes=({0: torch.export.Dim("n")},))  # fmt: skip
    found = onnxruntime.InferenceSession(str(path)).run(None, {"maps": maps})
    assert np.abs(found[0] - slowly(maps, method)).max() < 1e-3
