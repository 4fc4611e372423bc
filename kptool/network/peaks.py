"""What the torch decoders share: peaks, and windows about them. `tests/reference.py` states the definitions one by one.

All maps of a batch are treated at once, as (M, h, w) with M = N * K, in float64 from the window on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

MAX_REACH = 11
"""As in the core: steps after which `Peaks.reach` stops."""
ROUNDS = 3
"""As in the core: how often `Peaks.centred` looks along rows and columns."""


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

    def centred(self) -> Peaks:
        """The same peaks, each moved to the middle of its flat top: see `tests/reference.py.middle_pixel`."""
        peaks = self
        for _ in range(ROUNDS):
            left, right = peaks._as_high(2)
            peaks = replace(peaks, x=peaks.x + (right - left) // 2)
            up, down = peaks._as_high(1)
            peaks = replace(peaks, y=peaks.y + (down - up) // 2)
        return peaks

    def sides(self) -> Tensor:
        """How many pixels beside each peak, in its row and column, are as high, (M, 4): left, right, up, down."""
        return torch.stack([*self._as_high(2), *self._as_high(1)], -1)

    def middle(self) -> tuple[Tensor, Tensor]:
        """x and y (M,) of the mean position of the pixels as high, in the rectangle that `sides` spans."""
        dx, dy, values, inside = self.window(*self.sides().unbind(1))
        weight = (inside & (values == self.height[:, None])).double()
        total = weight.sum(1).clamp_min(1)
        return self.x + (weight * dx).sum(1) / total, self.y + (weight * dy).sum(1) / total

    def _as_high(self, axis: int) -> tuple[Tensor, Tensor]:
        """Pixels as high before and after each peak (M,), without a gap, in its column (axis 1) or row (axis 2)."""
        across, along = (self.y, self.x) if axis == 2 else (self.x, self.y)
        height, width = self.maps.shape[1:]
        index = across[:, None, None].expand(-1, *((1, width) if axis == 2 else (height, 1)))
        line = self.maps.gather(3 - axis, index).flatten(1)
        at = torch.arange(line.shape[1], device=line.device) - along[:, None]
        lower = (line.double() != self.height[:, None]) | (self.height[:, None] == 0)
        before = torch.where(lower & (at < 0), at, -1 - along[:, None]).amax(1)
        after = torch.where(lower & (at > 0), at, line.shape[1] - along[:, None]).amin(1)
        return -1 - before, after - 1

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

    def reach(self) -> Tensor:
        """Steps (M,) from each peak to the first pixel below half of it or outside, where that is farthest."""
        steps = torch.arange(1, MAX_REACH, device=self.x.device).expand(self.x.shape[0], -1)
        zero = torch.zeros_like(steps)
        lines = (self.at(-steps, zero), self.at(steps, zero), self.at(zero, -steps), self.at(zero, steps))
        above = torch.stack([line >= 0.5 * self.height[:, None] for line in lines], 1)
        inside = steps[:, None] <= self.room()[..., None]
        return 1 + ((above & inside).logical_not().cumsum(-1) == 0).sum(-1).amax(-1)

    def window(self, left: Tensor, right: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Offsets dx, dy (1, n), float64, values (M, n), and which of them are in each map's own window (M, n)."""
        reach = torch.stack([left, right, up, down]).max().item() if left.numel() else 0
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
