"""Heatmap peaks and windows around them, shared by the torch decoders. `tests/reference.py` defines every operation.

All maps of a batch are processed at once, as (M, h, w) with M = N * K; values read in windows are float64. `unsqueeze` and
`select` stand where an index would do, because tracing an index for an exported graph takes twice the operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kptool.base.geometry import from_edges
from kptool.network import kernels

MAX_REACH = 11
"""The most steps of `Peaks.reach`, as in the C++ core."""
ROUNDS = 3
"""Alternations between rows and columns in `Peaks.centred`, as in the C++ core."""


@dataclass(frozen=True)
class Peaks:
    """The first largest pixel of each of `maps` (M, h, w): x, y (M,) int64, height (M,) float64, 0 for a map without a peak."""

    maps: Tensor
    x: Tensor
    y: Tensor
    height: Tensor

    @classmethod
    def find(cls, heatmaps: Tensor) -> Peaks:
        """Peaks of heatmaps (N, K, h, w). Maps that are flat, not finite or nowhere positive have none."""
        maps = heatmaps.flatten(0, 1)
        flat = maps.flatten(1)
        high, index = flat.max(1)
        usable = torch.isfinite(flat).all(1) & (high > flat.amin(1)) & (high > 0)
        index = torch.where(usable, index, 0)
        width = maps.shape[-1]
        height = torch.where(usable, high, 0).double()
        return cls(maps, index % width, index // width, height)

    def centred(self) -> Peaks:
        """The same peaks, each moved to the middle of its flat top: see `middle_pixel` in tests/reference.py."""
        peaks = self
        for _ in range(ROUNDS):
            left, right = peaks._as_high(2)
            peaks = replace(peaks, x=peaks.x + (right - left) // 2)
            up, down = peaks._as_high(1)
            peaks = replace(peaks, y=peaks.y + (down - up) // 2)
        return peaks

    def plateau(self) -> Tensor:
        """Extent (M, 4) of the flat top in pixels from each peak: left, right, up, down along its row and column."""
        return torch.stack([*self._as_high(2), *self._as_high(1)], -1)

    def middle(self, sides: Tensor) -> tuple[Tensor, Tensor]:
        """x and y (M,) of the flat top's centre: the mean position of its pixels in the rectangle that its `plateau` spans."""
        dx, dy, values, inside = self.window(*sides.unbind(1))
        weight = (inside & (values == self.height.unsqueeze(1))).double()
        total = weight.sum(1).clamp_min(1)
        return self.x + (weight * dx).sum(1) / total, self.y + (weight * dy).sum(1) / total

    def _as_high(self, axis: int) -> tuple[Tensor, Tensor]:
        """Contiguous pixels as high as each peak (M,), before and after it, in its column (axis 1) or row (axis 2)."""
        line, along = self._lines(axis), (self.x if axis == 2 else self.y).unsqueeze(1)
        high, at = self.height.unsqueeze(1), torch.arange(line.shape[1], device=line.device) - along
        lower = (line != high) | (high == 0)
        before = torch.where(lower & (at < 0), at, -1 - along).amax(1)
        after = torch.where(lower & (at > 0), at, line.shape[1] - along).amin(1)
        return -1 - before, after - 1

    def _lines(self, axis: int) -> Tensor:
        """The columns (axis 1) or rows (axis 2) of the peaks, float64 (M, h or w)."""
        height, width = self.maps.shape[1:]
        across, shape = (self.y, (1, width)) if axis == 2 else (self.x, (height, 1))
        return self.maps.gather(3 - axis, across.view(-1, 1, 1).expand(-1, *shape)).flatten(1).double()

    def at(self, dx: Tensor, dy: Tensor) -> Tensor:
        """Values (M, n) at offsets (n,) or (1, n) from the peaks, float64; beyond the border, the nearest pixel's."""
        height, width = self.maps.shape[-2:]
        x = (self.x.unsqueeze(1) + dx).clamp(0, width - 1)
        y = (self.y.unsqueeze(1) + dy).clamp(0, height - 1)
        values: Tensor = self.maps.flatten(1).gather(1, y * width + x)
        return values.double()

    def room(self) -> Tensor:
        """Pixels (M, 4) between each peak and the borders: left, right, up, down."""
        height, width = self.maps.shape[-2:]
        return torch.stack([self.x, width - 1 - self.x, self.y, height - 1 - self.y], -1)

    def reach(self) -> Tensor:
        """Steps (M,) to the first pixel below half the peak or outside the map, in the direction where that is farthest."""
        steps = torch.arange(1, MAX_REACH, device=self.x.device)
        zero = torch.zeros_like(steps)
        dx, dy = torch.cat([-steps, steps, zero, zero]), torch.cat([zero, zero, -steps, steps])
        above = (self.at(dx, dy) >= 0.5 * self.height.unsqueeze(1)).view(-1, 4, MAX_REACH - 1)
        inside = steps <= self.room().unsqueeze(2)
        return 1 + ((above & inside).logical_not().cumsum(-1) == 0).sum(-1).amax(-1)

    def window(self, left: Tensor, right: Tensor, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A window that covers those of all maps, which reach `left`, `right`, `up`, `down` (M,) pixels from the peaks.

        Returns offsets dx, dy (1, n) float64, values (M, n) float64, and which of them are in each map's own window (M, n).
        """
        reach = self._farthest(left, right, up, down)
        line = torch.arange(-reach, reach + 1, device=self.x.device)
        dy, dx = (grid.reshape(1, -1) for grid in torch.meshgrid(line, line, indexing="ij"))
        left, right, up, down = (side.unsqueeze(1) for side in (left, right, up, down))
        inside = (dx >= -left) & (dx <= right) & (dy >= -up) & (dy <= down)
        return dx.double(), dy.double(), self.at(dx, dy), inside

    def _farthest(self, *sides: Tensor) -> int:
        """The largest of all sides (M,); a symbol in graphs."""
        reach: int = torch.stack(sides).max().item() if sides[0].numel() else 0  # type: ignore[assignment]
        return reach


Locate = Callable[[Peaks], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class PeakDecoder:
    """A decoder function; `locate` returns x and y (M,). Maps without a peak get their centre and score 0. On a GPU, the kernel
    called `name` computes the same, where there is one and no gradient is wanted."""

    locate: Locate
    name: str | None = None

    def __call__(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Points (N, K, 2) and scores (N, K) of heatmaps (N, K, h, w)."""
        if self.name and heatmaps.is_cuda and heatmaps.dtype in kernels.TYPES and not _traced(heatmaps):
            kernel = kernels.decoder(self.name, self.plain, heatmaps.device)
            if kernel is not None:
                return kernel(heatmaps)
        return self.plain(heatmaps)

    def plain(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """The same by torch's operations."""
        n, k, height, width = heatmaps.shape
        peaks = Peaks.find(heatmaps)
        x, y = self.locate(peaks)
        there = peaks.height > 0
        x = torch.where(there, x.double(), (width - 1) / 2).clamp(from_edges(0), from_edges(width))
        y = torch.where(there, y.double(), (height - 1) / 2).clamp(from_edges(0), from_edges(height))
        return torch.stack([x, y], -1).view(n, k, 2).float(), peaks.height.view(n, k).float()


def decode_with(locate: Locate, name: str | None = None) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The decoder function for a `locate` that returns x and y (M,); maps without a peak get their centre and score 0. `name`:
    of the kernel for GPUs that computes the same."""
    return PeakDecoder(locate, name)


def _traced(heatmaps: Tensor) -> bool:
    """Whether a graph or gradients are recorded, which need torch's operations."""
    graph = torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()
    return graph or (heatmaps.requires_grad and torch.is_grad_enabled())
