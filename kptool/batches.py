"""Training batches that live on the device: images are uploaded once as uint8 and augmented there.

All random numbers of an epoch are drawn on the CPU from (seed, epoch) for the whole data set, and a batch is cut from
them. So a batch does not depend on the device, on the number of processes that share it, nor on what came before:
resuming needs no generator's state. Keypoints move with their image; one that leaves the picture loses its label.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kptool.config import AugmentConfig
from kptool.geometry import Size, swap_order


@dataclass(frozen=True)
class Batch:
    """images: float32 (n, C, H, W), 0..255. points: float32 (n, K, 2), their pixels. labelled: bool (n, K)."""

    images: Tensor
    points: Tensor
    labelled: Tensor


@dataclass(frozen=True)
class Resident:
    """A split of a cache on a device. images: uint8 (N, C, H, W); points: float32 (N, K, 2); labelled: bool (N, K)."""

    images: Tensor
    points: Tensor
    labelled: Tensor

    @classmethod
    def upload(cls, images: np.ndarray, points: np.ndarray, visibility: np.ndarray, device: torch.device) -> Resident:
        """From arrays (N, H, W) or (N, C, H, W), (N, K, 2) and (N, K)."""
        pixels = torch.from_numpy(np.ascontiguousarray(images if images.ndim == 4 else images[:, None]))
        labelled = torch.from_numpy(visibility > 0)
        return cls(pixels.to(device), torch.from_numpy(points).to(device), labelled.to(device))

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Tensor) -> Batch:
        """The samples at `index`, as they are."""
        index = index.to(self.images.device)
        return Batch(self.images[index].float(), self.points[index], self.labelled[index])


@dataclass(frozen=True)
class Share:
    """Which part of every batch this process computes: `rank` of `world`."""

    rank: int = 0
    world: int = 1


class Epochs:
    """Augmented batches of a `Resident`, epoch by epoch.

    Each epoch visits every sample once in a new order; a last batch that is not full is filled from the epoch's start,
    so that every step weighs the same. `steps` is the number of batches per epoch.
    """

    def __init__(
        self, data: Resident, pairs: tuple[tuple[int, int], ...], config: AugmentConfig, *, batch_size: int, seed: int
    ) -> None:
        self.data, self.config, self.seed = data, config, seed
        self.batch_size = batch_size
        self.steps = max(1, math.ceil(len(data) / batch_size))
        self._swap = swap_order(data.points.shape[1], pairs)

    def epoch(self, number: int, share: Share | None = None) -> Iterator[Batch]:
        """The batches of epoch `number`; of each, the part that is `share`'s."""
        share = share or Share()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = torch.randperm(len(self.data), generator=generator)
        total = self.steps * self.batch_size
        order = order.repeat(math.ceil(total / len(order)))[:total]
        draws = torch.rand((total, _DRAWS), generator=generator)
        for step in range(self.steps):
            mine = torch.arange(step * self.batch_size, (step + 1) * self.batch_size)[share.rank :: share.world]
            batch = self.data.take(order[mine])
            device = batch.images.device
            noise = torch.Generator(device).manual_seed(self.seed * 1_000_003 + number * 65_537 + step)
            yield augment(batch, draws[mine].to(device), self._swap, self.config, noise, share)


_DRAWS = 16


def augment(
    batch: Batch,
    draws: Tensor,
    swap: list[int],
    config: AugmentConfig,
    noise: torch.Generator,
    share: Share | None = None,
) -> Batch:
    """Vary a batch by `draws` (n, 16), uniform in 0..1, and by white noise from a generator on the device."""
    signed = draws * 2 - 1
    size = (batch.images.shape[-2], batch.images.shape[-1])
    mirrored = draws[:, 0] < config.flip
    forward = _forward_maps(signed[:, 1:5], mirrored, size, config)
    images = warp(batch.images, forward)
    images = _light(images, signed[:, 5:8] * config.light)
    images = _blur(images, draws[:, 8], config.blur)
    images = _add_noise(images, draws[:, 9] * config.noise, noise, share or Share())
    images = _erase(images, draws[:, 10:16], config.erase)
    points = torch.where(mirrored[:, None, None], batch.points[:, swap], batch.points)
    labelled = torch.where(mirrored[:, None], batch.labelled[:, swap], batch.labelled)
    points = points @ forward[:, :, :2].transpose(1, 2) + forward[:, None, :, 2]
    edge = points.new_tensor([size[1] - 0.5, size[0] - 0.5])
    inside = ((points >= -0.5) & (points <= edge)).all(-1)
    return Batch(images.clamp(0, 255), points, labelled & inside)


def _forward_maps(signed: Tensor, mirrored: Tensor, size: Size, config: AugmentConfig) -> Tensor:
    """2x3 maps (n, 2, 3), pixels -> pixels: mirror, then rotate and scale about the centre, then shift."""
    angle = signed[:, 0] * math.radians(config.rotation)
    scale = torch.exp(signed[:, 1] * math.log1p(config.scale))
    cos, sin = angle.cos() * scale, angle.sin() * scale
    mirror = torch.where(mirrored, -1.0, 1.0)
    linear = torch.stack([torch.stack([cos * mirror, -sin], -1), torch.stack([sin * mirror, cos], -1)], -2)
    centre = signed.new_tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])
    shift = signed[:, 2:4] * config.shift * signed.new_tensor([size[1], size[0]])
    offset = centre + shift - linear @ centre
    return torch.cat([linear, offset[:, :, None]], -1)


def warp(images: Tensor, forward: Tensor) -> Tensor:
    """Resample images (n, C, H, W) so that what was at p is at ``forward @ p``, both in pixels; edges are repeated."""
    height, width = images.shape[-2:]
    half = forward.new_tensor([width / 2, height / 2])
    inverse = torch.linalg.inv(forward[:, :, :2])
    # grid_sample wants output -> input in coordinates whose edges are -1 and 1: p = (q + 1) * half - 0.5.
    linear = inverse * half / half[:, None]
    offset = (inverse @ ((half - 0.5) - forward[:, :, 2])[:, :, None])[:, :, 0]
    theta = torch.cat([linear, ((offset + 0.5) / half - 1)[:, :, None]], -1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _light(images: Tensor, strength: Tensor) -> Tensor:
    """Gamma by the first column of `strength` (n, 3), and a linear gradient of light across x and y by the others."""
    height, width = images.shape[-2:]
    gamma = torch.exp(strength[:, 0]).view(-1, 1, 1, 1)
    x = torch.linspace(-1, 1, width, device=images.device)
    y = torch.linspace(-1, 1, height, device=images.device)
    gain = 1 + strength[:, 1, None, None] * x + strength[:, 2, None, None] * y[:, None]
    return 255 * (images / 255).clamp_min(1e-4).pow(gamma) * gain[:, None].clamp_min(0.1)


def _blur(images: Tensor, draw: Tensor, chance: float) -> Tensor:
    """A binomial blur of five pixels, mixed in by up to all of it, for a `chance` of the images."""
    if chance == 0:
        return images
    taps = images.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    channels = images.shape[1]
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, taps.view(1, 1, 1, 5).repeat(channels, 1, 1, 1), groups=channels)
    smooth = F.conv2d(rows, taps.view(1, 1, 5, 1).repeat(channels, 1, 1, 1), groups=channels)
    amount = (1 - draw / max(chance, 1e-9)).clamp_min(0).view(-1, 1, 1, 1)
    return torch.lerp(images, smooth, amount)


def _add_noise(images: Tensor, deviation: Tensor, generator: torch.Generator, share: Share) -> Tensor:
    """White noise of standard deviation `deviation` (n,), where white is 1. Drawn for the whole batch, then shared out."""
    shape = (len(images) * share.world, *images.shape[1:])
    white = torch.randn(shape, generator=generator, device=images.device)[share.rank :: share.world]
    return images + white * (255 * deviation).view(-1, 1, 1, 1)


def _erase(images: Tensor, draws: Tensor, chance: float) -> Tensor:
    """A rectangle of up to a third of each side in one tone, for a `chance` of the images; its points keep their labels."""
    height, width = images.shape[-2:]
    x = torch.linspace(0, 1, width, device=images.device)
    y = torch.linspace(0, 1, height, device=images.device)
    half = draws[:, 3:5] / 6 + 0.02
    across = (x - draws[:, 1, None]).abs() < half[:, 0, None]
    down = (y - draws[:, 2, None]).abs() < half[:, 1, None]
    hidden = across[:, None, None, :] & down[:, None, :, None] & (draws[:, 0] < chance).view(-1, 1, 1, 1)
    return torch.where(hidden, 255 * draws[:, 5].view(-1, 1, 1, 1), images)
