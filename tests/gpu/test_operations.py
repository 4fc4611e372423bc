"""Decoding, rendering, peaks and augmentation compute on a device what the C++ core and the CPU compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from devices import ON_EACH_DEVICE, never_waiting
from numpy.typing import NDArray
from torch import Tensor

from kptool import heatmaps, plugins
from kptool.base.config import AugmentConfig, ModelConfig
from kptool.network import maxima
from kptool.network.keypoint_model import KeypointModel
from kptool.training.augmentation import Batch, augment, draw
from kptool.training.targets import Targets

pytestmark = ON_EACH_DEVICE

PIXELS = 1e-3
"""How far points may lie apart, in heatmap pixels."""


def gaussians(count: int = 8, keypoints: int = 5, size: tuple[int, int] = (40, 48)) -> NDArray[np.float32]:
    """Heatmaps with a Gaussian each, somewhere, on a little noise."""
    rng = np.random.default_rng(0)
    points = rng.uniform(2, min(size) - 3, (count, keypoints, 2)).astype(np.float32)
    maps = heatmaps.render(points, size, 1.8)
    return np.asarray(maps + rng.uniform(0, 0.02, maps.shape), np.float32)


def odd_maps() -> NDArray[np.float32]:
    """Clipped and quantised Gaussians, some of them at or beyond a border, and maps that have no peak."""
    rng = np.random.default_rng(3)
    points = rng.uniform(-2, 50, (6, 4, 2)).astype(np.float32)
    maps = np.asarray(heatmaps.render(points, (40, 48), 2.5))
    maps = np.concatenate([maps, np.minimum(maps, 0.7), np.round(maps * 8) / 8, -maps]).astype(np.float32)
    maps[0, 0], maps[1, 0], maps[2, 0, 3, 3], maps[3, 0, 2, 2] = 0, 0.5, np.nan, np.inf
    maps[4, 0, 5:] = 1
    return maps


MAPS = {
    "noisy": gaussians,
    "odd": odd_maps,
    "wide": lambda: np.asarray(heatmaps.render(np.full((1, 2, 2), 30, np.float32), (64, 70), 9.0), np.float32),
    "one pixel high": lambda: np.random.default_rng(4).uniform(-1, 1, (5, 3, 1, 9)).astype(np.float32),
    "none": lambda: np.zeros((0, 3, 8, 8), np.float32),
}


@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("name", heatmaps.METHODS)
def test_decoders_give_the_core_s_points(name: str, kind: str, device: torch.device) -> None:
    maps = MAPS[kind]()
    expected, scores = heatmaps.decode(maps, name)
    found, heights = plugins.load_decoder(name).function(torch.from_numpy(maps).to(device))
    assert np.abs(found.cpu().numpy() - expected).max(initial=0) <= PIXELS
    assert np.abs(heights.cpu().numpy() - scores).max(initial=0) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", heatmaps.METHODS)
def test_decoders_take_half_precision(name: str, dtype: torch.dtype, device: torch.device) -> None:
    maps = torch.from_numpy(gaussians()).to(dtype)
    expected, _ = heatmaps.decode(maps.float().numpy(), name)
    found, _ = plugins.load_decoder(name).function(maps.to(device))
    assert np.abs(found.cpu().numpy() - expected).max() <= PIXELS


@pytest.mark.parametrize("method", heatmaps.PEAK_METHODS)
def test_peaks_are_the_core_s(method: str, device: torch.device) -> None:
    maps = np.maximum(gaussians(4, 3), gaussians(4, 3)[:, :, ::-1, ::-1]).copy()
    expected = heatmaps.find_peaks(maps, 0.3, 2, 4, method=method)
    found = maxima.search(torch.from_numpy(maps).to(device), 0.3, 2, 4, method)
    assert np.array_equal(found[2].cpu(), expected[2])
    assert np.abs(found[0].cpu().numpy() - expected[0]).max() <= PIXELS


def test_targets_are_the_core_s(device: torch.device) -> None:
    model = KeypointModel(ModelConfig("unet", ("a", "b", "c"), (), (48, 64), width=4))
    targets, rng = Targets(model), np.random.default_rng(1)
    points = torch.from_numpy(rng.uniform(-4, 60, (6, 3, 2)).astype(np.float32))
    labelled = torch.from_numpy(rng.random((6, 3)) < 0.8)
    expected, _ = targets(Batch(torch.empty(6, 1, 48, 64), points, labelled))
    column, row, _ = targets.factors(Batch(torch.empty(6, 1, 48, 64), points.to(device), labelled.to(device)))
    found = column[..., None] * row[..., None, :]
    assert float((found.cpu() - expected).abs().max()) <= PIXELS


def batch(device: torch.device, count: int = 6) -> Batch:
    rng = np.random.default_rng(2)
    images = torch.from_numpy(rng.integers(0, 256, (count, 3, 40, 48), np.uint8).astype(np.float32))
    points = torch.from_numpy(rng.uniform(4, 36, (count, 5, 2)).astype(np.float32))
    return Batch(images.to(device), points.to(device), torch.ones((count, 5), dtype=torch.bool, device=device))


def augmented(device: torch.device) -> tuple[Tensor, Tensor]:
    """The same images after the same augmentation but for noise, of which each device draws its own."""
    draws = draw(6, torch.Generator().manual_seed(3)).to(device)
    noise = torch.Generator(device).manual_seed(4)
    swap = torch.tensor([1, 0, 2, 4, 3], device=device)
    found = augment(batch(device), draws, swap, AugmentConfig(rotation=40, noise=0), noise)
    return found.images.cpu(), found.points.cpu()


def test_augmentation_is_the_cpu_s(device: torch.device) -> None:
    images, points = augmented(device)
    expected, where = augmented(torch.device("cpu"))
    assert float((points - where).abs().max()) <= 2e-3  # pixels
    assert float((images - expected).abs().mean()) <= 0.05  # of 255; a sample on an edge may fall on either side


def test_augmentation_waits_for_nothing(device: torch.device) -> None:
    draws = draw(6, torch.Generator().manual_seed(3)).to(device)
    arguments = batch(device), draws, torch.arange(5, device=device), AugmentConfig()
    augment(*arguments, torch.Generator(device).manual_seed(4))  # the first call compiles and allocates
    noise = torch.Generator(device).manual_seed(4)
    with never_waiting(device):
        found = augment(*arguments, noise)
    assert found.images.device.type == device.type
