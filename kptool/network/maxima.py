"""`kptool.heatmaps.find_peaks` in torch: for heatmaps on a GPU, and for peaks inside of exported graphs.

On a GPU, and under `torch.compile`, every shape depends on the arguments' shapes alone and nothing waits for the device; loops
have a fixed number of rounds and windows the largest size. A graph for ONNX loops until nothing changes, and works on the peaks
that are there. Maps are processed as (B, h, w) with B = N * K, and labels and indices as (B, h * w).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch._higher_order_ops import while_loop

from kptool import heatmaps as core
from kptool import plugins
from kptool.base.errors import DataError
from kptool.base.geometry import from_edges
from kptool.network.peaks import MAX_REACH, ROUNDS, Locate, PeakDecoder, Peaks

TIES = 32
"""Rounds in which equal peaks near each other are told apart where loops have a fixed length: see `find_peaks`."""
LOCATE: dict[str, Locate] = {
    name: cast(PeakDecoder, plugins.load_decoder(name).function).locate for name in core.PEAK_METHODS
}
"""How each method locates peaks, by its decoder."""
_NONE = 1 << 40
"""More than any index of a pixel."""


def find_peaks(
    heatmaps: Tensor,
    threshold: float = 0.3,
    min_distance: int = 2,
    max_count: int = 100,
    *,
    method: str = "gaussian",
) -> tuple[Tensor, Tensor, Tensor]:
    """Locate every peak in heatmaps that show any number of objects: `kptool.heatmaps.find_peaks` for tensors.

    heatmaps (N, K, h, w): any floating-point type, of which float64 is rounded to float32, or uint8 (255 is 1). The other
    arguments and the definition of a peak are those of `kptool.heatmaps.find_peaks`.

    Returns (coords, scores, counts): (N, K, max_count, 2) and (N, K, max_count) float32, sorted from the highest peak to
    the lowest, ties in row-major order, and zero after the last; (N, K) int64. No gradients flow through them. On the CPU
    the C++ core computes them. Elsewhere, and in graphs, counts and scores equal the core's and coordinates agree to 1e-3
    pixels, with two limits on a GPU and under `torch.compile`: of a chain of more than 64 equal peaks, each within
    `min_distance` of the next, those after the 64th may be left out; and a flat top wider than 35 pixels that no Gaussian
    fits is located in the middle of its row and its column. On a GPU, "gaussian" takes 150 KB for each of N K max_count.
    Raises DataError for heatmaps, ConfigError for any other argument.
    """
    if heatmaps.dim() != 4 or not (heatmaps.is_floating_point() or heatmaps.dtype == torch.uint8):
        what = f"heatmaps have shape {tuple(heatmaps.shape)} and type {heatmaps.dtype}"
        raise DataError(f"{what}, expected (N, K, h, w), floating-point or uint8; convert them")
    highest = 1.0 if heatmaps.dtype == torch.uint8 else 1e30
    core.check_peak_search(threshold, min_distance, max_count, method, highest)
    if heatmaps.device.type != "cpu" or torch.compiler.is_compiling():
        return search(heatmaps, threshold, min_distance, max_count, method)
    maps = heatmaps.detach()
    stored = maps if maps.dtype in (torch.uint8, torch.float16) else maps.float()
    coords, scores, counts = core.find_peaks(stored.numpy(), threshold, min_distance, max_count, method=method)
    return torch.from_numpy(coords), torch.from_numpy(scores), torch.from_numpy(counts)


@torch.no_grad()
def search(heatmaps: Tensor, threshold: float, distance: int, most: int, method: str) -> tuple[Tensor, Tensor, Tensor]:
    """`find_peaks` in torch on any device, for checked arguments."""
    n, k, height, width = heatmaps.shape
    unit = 255.0 if heatmaps.dtype == torch.uint8 else 1.0
    maps = heatmaps.flatten(0, 1).float()  # bytes stay whole numbers, whose order and equality are exact
    flat = maps.flatten(1)
    usable = torch.isfinite(flat).all(1) & (flat.amax(1) > flat.amin(1))
    maps = torch.where(usable[:, None, None], maps, 0)
    high = (maps == _highest_around(maps, distance)) & (maps >= _least(threshold, unit))
    first = _apart(_first_of_tops(maps, high), _middles(maps), distance)
    score, index = _highest(torch.where(first, maps, 0).flatten(1), most)
    index = torch.where(score > 0, index, 0).flatten()
    y = index // width
    of = torch.arange(n * k, device=maps.device)[:, None].expand(-1, most).flatten()
    peaks = Several(maps, index - y * width, y, score.flatten().double() / unit, of, unit, _reach(method))
    points = _located(peaks, LOCATE[method])
    x, y = (one.clamp(from_edges(0), from_edges(size)) for one, size in zip(points, (width, height), strict=True))
    there = score > 0
    coords = torch.where(there[..., None], torch.stack([x, y], -1).view(-1, most, 2), 0).float()
    scores = (score.double() / unit).float()
    return coords.view(n, k, most, 2), scores.view(n, k, most), there.sum(1).view(n, k)


@dataclass(frozen=True)
class Several(Peaks):
    """Several peaks of each map: x, y, height are (M,), and `of` (M,) is the map of each; height 0 is no peak.

    unit: the value that counts as 1. limit: the farthest that a window reaches where shapes are fixed.
    """

    of: Tensor
    unit: float
    limit: int

    def _lines(self, axis: int) -> Tensor:
        count, height, width = self.maps.shape
        if axis == 2:
            lines = self.maps.reshape(count * height, width).index_select(0, self.of * height + self.y)
        else:
            across = self.maps.transpose(1, 2).reshape(count * width, height)
            lines = across.index_select(0, self.of * width + self.x)
        return lines.double() / self.unit

    def at(self, dx: Tensor, dy: Tensor) -> Tensor:
        height, width = self.maps.shape[-2:]
        x = (self.x[:, None] + dx).clamp(0, width - 1)
        y = (self.y[:, None] + dy).clamp(0, height - 1)
        index = (self.of[:, None] * height + y) * width + x
        return self.maps.flatten().index_select(0, index.flatten()).view(index.shape).double() / self.unit

    def middle(self, sides: Tensor) -> tuple[Tensor, Tensor]:
        x, y = super().middle(sides)
        if torch.onnx.is_in_onnx_export():
            return x, y
        wide = (sides > self.limit).any(1)
        left, right, up, down = sides.unbind(1)
        return torch.where(wide, self.x + (right - left) / 2, x), torch.where(wide, self.y + (down - up) / 2, y)

    def _farthest(self, *sides: Tensor) -> int:
        if not torch.onnx.is_in_onnx_export():
            return self.limit
        reach: int = torch.cat([*sides, sides[0].new_zeros(1)]).max().item()  # type: ignore[assignment]
        return reach  # 0 if there is no peak


def _reach(method: str) -> int:
    """The farthest that a decoder's window reaches: see the C++ core."""
    return 2 * MAX_REACH if method == "centroid" else (3 * MAX_REACH + 1) // 2


def _located(peaks: Several, locate: Locate) -> tuple[Tensor, Tensor]:
    """x and y (M,) float64 of peaks, any number where there is none."""
    if not torch.onnx.is_in_onnx_export():
        x, y = locate(peaks)
        return x.double(), y.double()
    there = (peaks.height > 0).nonzero()[:, 0]
    real = Several(
        peaks.maps, peaks.x[there], peaks.y[there], peaks.height[there], peaks.of[there], peaks.unit, peaks.limit
    )
    points = torch.stack(locate(real), 1).double()
    x, y = points.new_zeros(peaks.x.shape[0], 2).index_put((there,), points).unbind(1)
    return x, y


def _least(threshold: float, unit: float) -> float:
    """The smallest stored value, float32, that is not below the threshold."""
    if unit == 255:
        whole = int(threshold * 255)
        return float(next(value for value in range(whole, 257) if value / 255 >= threshold))
    value = np.float32(threshold)
    return float(value if float(value) >= threshold else np.nextafter(value, np.float32(np.inf)))


def _highest_around(maps: Tensor, distance: int) -> Tensor:
    """The largest value within a distance of each pixel along both axes."""
    size = 2 * distance + 1
    rows = nn.functional.max_pool2d(maps[:, None], (1, size), 1, (0, distance))  # (B, 1, h, w): B may be 0
    return nn.functional.max_pool2d(rows, (size, 1), 1, (distance, 0))[:, 0]


def _beside(values: Tensor, outside: float) -> Iterator[Tensor]:
    """The values (B, h, w) of the neighbours left, right, above and below."""
    padded = nn.functional.pad(values, (1, 1, 1, 1), value=outside)
    yield from (padded[:, 1:-1, :-2], padded[:, 1:-1, 2:], padded[:, :-2, 1:-1], padded[:, 2:, 1:-1])


def _any(masks: Iterator[Tensor]) -> Tensor:
    found = next(masks)
    for mask in masks:
        found = found | mask
    return found


def _repeat(step: Callable[[Tensor], Tensor], state: Tensor, more: Callable[[Tensor], Tensor], rounds: int) -> Tensor:
    """Apply `step` while there is `more` to do, in a graph for ONNX, or else `rounds` times."""
    if torch.onnx.is_in_onnx_export():
        last: Tensor = while_loop(more, lambda one: (step(one),), (state,))[0]  # type: ignore[no-untyped-call]
        return last
    for _ in range(rounds):
        state = step(state)
    return state


def _first_of_tops(maps: Tensor, high: Tensor) -> Tensor:
    """The first pixel of every peak, (B, h, w): of 4-connected `high` pixels, none of which is as high as one that is not.

    Labels pixels by the first of those connected to them, 1 for pixel 0, or 0 if one of them is as high as a neighbour that
    is not `high`. Neighbours that are both high are equally high.

    Reference: Zhang, Azad, Hu, FastSV: a distributed-memory connected component algorithm, SIAM PP 2020.
    """
    count, height, width = maps.shape
    area = height * width
    spoilt = high & _any(side == maps for side in _beside(torch.where(high, -1, maps), -1))
    index = torch.arange(1, area + 1, device=maps.device).view(1, height, width)
    label = torch.where(high & ~spoilt, index, 0).flatten(1)
    zero = torch.zeros_like(label[:, :1])

    def smaller(label: Tensor) -> Tensor:
        grand = label.gather(1, label)
        shown = torch.where(high, grand[:, 1:].view_as(high), _NONE)
        near = shown
        for side in _beside(shown, _NONE):
            near = torch.minimum(near, side)
        near = torch.cat([zero, torch.where(high, near, 0).flatten(1)], 1)
        return torch.minimum(label.scatter_reduce(1, label, near, "amin"), near)

    label = torch.cat([zero, label], 1)
    rounds = 3 * (area - 1).bit_length() // 2 + 1  # spirals, snakes and combs need two thirds of them
    label = _repeat(smaller, label, lambda one: (smaller(one) != one).any(), rounds)
    return high & (label[:, 1:].view(count, height, width) == index)


def _middles(maps: Tensor) -> Tensor:
    """The index (B, h * w) of the pixel in the middle of the flat top at each pixel: see `Peaks.centred`."""
    _, height, width = maps.shape
    x, y = torch.arange(width, device=maps.device), torch.arange(height, device=maps.device)
    row = (y[:, None] * width + _middle_of_runs(maps)).flatten(1)
    column = (_middle_of_runs(maps.transpose(1, 2)).transpose(1, 2) * width + x).flatten(1)
    both = column.gather(1, row)
    middle = both
    for _ in range(ROUNDS - 1):
        middle = both.gather(1, middle)
    return middle


def _middle_of_runs(maps: Tensor) -> Tensor:
    """The index along the last axis of the middle of each pixel's run of equal values, rounded down."""
    starts = nn.functional.pad(maps[..., 1:] != maps[..., :-1], (1, 0))
    run = starts.cumsum(-1)
    at = torch.arange(maps.shape[-1], device=maps.device).expand(run.shape)
    first = torch.full_like(run, maps.shape[-1]).scatter_reduce(-1, run, at, "amin")
    last = torch.zeros_like(run).scatter_reduce(-1, run, at, "amax")
    return ((first + last) // 2).gather(-1, run)


def _apart(first: Tensor, middles: Tensor, distance: int) -> Tensor:
    """Which of the peaks (B, h, w) remain: of those whose middles are near each other, the first, then the next that is not
    near one that remains.

    Marks middles, by a number that is larger the earlier a peak begins; negative once it remains, and 0 for no peak.
    """
    count, height, width = first.shape
    area = height * width
    begins = first.flatten(1)
    rank = torch.arange(
        area, 0, -1, device=first.device, dtype=torch.float64
    )  # which are exact, and torch can pool them
    ranks = torch.where(begins, rank, 0)
    marks = torch.zeros_like(ranks).scatter_reduce(1, middles, ranks, "amax")

    def decided(marks: Tensor) -> Tensor:
        unsure = marks.clamp_min(0)
        remains = (unsure > 0) & (unsure == _highest_around(unsure, distance))
        near = _highest_around(remains.double(), distance) > 0
        return torch.where(remains, -marks, torch.where(near & (marks > 0), 0, marks))

    marks = _repeat(decided, marks.view(count, height, width), lambda one: (one > 0).any(), TIES)
    return (begins & (marks.flatten(1).gather(1, middles) < 0)).view(count, height, width)


def _highest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest of values (B, n), at least 0, and their indices; of equal values, the first."""
    padded = nn.functional.pad(values, (0, count))
    if torch.onnx.is_in_onnx_export():  # whose TopK defines the order of equal values
        high, index = padded.topk(count, 1)
    else:
        high, index = padded.sort(dim=1, descending=True, stable=True)
    return high[:, :count], index[:, :count]
