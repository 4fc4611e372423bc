"""What the torch decoders share: peaks, and windows about them. The definitions are those of ``csrc/decode.cpp``.

All maps of a batch are treated at once, as (M, h, w) with M = N * K, in float64 from the window on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

REACH = 64


@dataclass(frozen=True)
class Peaks:
    """The first largest pixel of each map: x, y (M,) int64, height (M,) float64, 0 where the map has no peak."""

    maps: Tensor
    x: Tensor
    y: Tensor
    height: Tensor

    @classmethod
    def find(cls, heatmaps: Tensor) -> Peaks:
        """Peaks of heatmaps (N, K, h, w). Flat maps, and those that are not finite, or nowhere positive, have none."""
        maps = heatmaps.flatten(0, 1)
        flat = maps.flatten(1)
        high, index = flat.max(1)
        usable = torch.isfinite(flat).all(1) & (high > flat.amin(1)) & (high > 0)
        index = torch.where(usable, index, 0)
        width = maps.shape[-1]
        height = torch.where(usable, high, 0).double()
        return cls(maps, index % width, index // width, height)

    def at(self, dx: Tensor, dy: Tensor) -> Tensor:
        """Values at offsets (M, n) from the peaks, float64; offsets beyond the border read the nearest pixel."""
        height, width = self.maps.shape[-2:]
        x = (self.x[:, None] + dx).clamp(0, width - 1)
        y = (self.y[:, None] + dy).clamp(0, height - 1)
        values: Tensor = self.maps.flatten(1).gather(1, y * width + x)
        return values.double()

    def room(self) -> Tensor:
        """Pixels between each peak and the borders, (M, 4): left, right, up, down."""
        height, width = self.maps.shape[-2:]
        return torch.stack([self.x, width - 1 - self.x, self.y, height - 1 - self.y], -1)

    def extent(self, share: float) -> Tensor:
        """Pixels from each peak, (M, 4), along the axes, before the map falls below `share` of the peak."""
        steps = torch.arange(1, REACH + 1, device=self.x.device).expand(len(self.x), -1)
        zero = torch.zeros_like(steps)
        lines = (self.at(-steps, zero), self.at(steps, zero), self.at(zero, -steps), self.at(zero, steps))
        above = torch.stack([line >= share * self.height[:, None] for line in lines], 1)
        inside = steps[:, None] <= self.room()[..., None]
        return (above & inside).long().cumprod(-1).sum(-1)

    def window(self, left: Tensor, right: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Offsets dx, dy (1, n), float64, values (M, n), and which of them are in each map's own window (M, n)."""
        reach = int(torch.stack([left, right, up, down]).max()) if len(left) else 0
        line = torch.arange(-reach, reach + 1, device=self.x.device)
        dy, dx = (grid.reshape(1, -1) for grid in torch.meshgrid(line, line, indexing="ij"))
        inside = (dx >= -left[:, None]) & (dx <= right[:, None]) & (dy >= -up[:, None]) & (dy <= down[:, None])
        return dx.double(), dy.double(), self.at(dx, dy), inside


Locate = Callable[[Peaks], tuple[Tensor, Tensor]]


def decode_with(locate: Locate) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The decoder whose `locate` gives x and y (M,) for the peaks; maps without a peak get their centre and score 0."""

    def decode(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        n, k, height, width = heatmaps.shape
        peaks = Peaks.find(heatmaps)
        x, y = locate(peaks)
        there = peaks.height > 0
        x = torch.where(there, x.double(), (width - 1) / 2).clamp(-0.5, width - 0.5)
        y = torch.where(there, y.double(), (height - 1) / 2).clamp(-0.5, height - 0.5)
        return torch.stack([x, y], -1).view(n, k, 2).float(), peaks.height.view(n, k).float()

    return decode


def centroid(peaks: Peaks) -> tuple[Tensor, Tensor]:
    """Mean position weighted by value, in a window of 2 half-widths about the peak that the border cuts evenly."""
    half, room = peaks.extent(0.5), peaks.room()
    rx = torch.minimum(2 * half[:, :2].amax(1).clamp_min(1) + 1, room[:, :2].amin(1))
    ry = torch.minimum(2 * half[:, 2:].amax(1).clamp_min(1) + 1, room[:, 2:].amin(1))
    dx, dy, values, inside = peaks.window(rx, rx, ry, ry)
    weight = torch.where(inside, values, 0).clamp_min(0)
    total = weight.sum(1)
    return peaks.x + (weight * dx).sum(1) / total, peaks.y + (weight * dy).sum(1) / total
