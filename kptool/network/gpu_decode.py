"""The decoders as one kernel for GPUs: each map is read once, and decoded where it was read.

The arithmetic is that of the torch decoders, `kptool.network.peaks` and `kptool.decoders`, in the same order and types, so that
points agree to rounding. Imported only where Triton is there, which comes with torch for GPUs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kptool.network.gpu_fit import fit_gaussian, reach_of
from kptool.network.peaks import ROUNDS

METHODS = ("argmax", "centroid", "dark", "gaussian")
_SCAN = 512
"""Pixels that are read at a time."""
_LANES = 32
"""Columns of a window that are read at a time."""
_ROUNDS = tl.constexpr(ROUNDS)


def decode(maps: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Points (N, K, 2) and scores (N, K), float32, of floating-point heatmaps (N, K, h, w), by one of `METHODS`."""
    n, k, height, width = maps.shape
    maps = maps.contiguous()
    points = torch.empty((n, k, 2), dtype=torch.float32, device=maps.device)
    scores = torch.empty((n, k), dtype=torch.float32, device=maps.device)
    if n * k:
        line = triton.next_power_of_2(max(height, width, 16))
        _decode[(n * k,)](
            maps, points, scores, height, width, method=method, scan=_SCAN, lanes=line, span=_LANES, num_warps=1
        )
    return points, scores


@triton.jit
def _decode(
    maps,
    points,
    scores,
    height,
    width,
    method: tl.constexpr,
    scan: tl.constexpr,
    lanes: tl.constexpr,
    span: tl.constexpr,
):
    number = tl.program_id(0)
    base = maps + number.to(tl.int64) * height * width
    high, index = _peak(base, height * width, scan)
    there = high > 0
    top = high.to(tl.float64)
    x, y = index % width, index // width
    if method == "argmax":
        found_x, found_y = x.to(tl.float64), y.to(tl.float64)
    else:
        for _ in tl.static_range(_ROUNDS):
            left, right = _as_high(base + y * width, 1, x, width, high, lanes)
            x += (right - left) >> 1
            up, down = _as_high(base + x, width, y, height, high, lanes)
            y += (down - up) >> 1
        if method == "centroid":
            found_x, found_y = _centroid(base, x, y, top, height, width, span)
        else:
            left, right = _as_high(base + y * width, 1, x, width, high, lanes)
            up, down = _as_high(base + x, width, y, height, high, lanes)
            middle_x, middle_y = _middle(base, x, y, high, width, left, right, up, down, lanes)
            if method == "dark":
                found_x, found_y = _dark(base, x, y, height, width, left, right, up, down, middle_x, middle_y)
            else:
                found_x, found_y = fit_gaussian(
                    base, x, y, top, height, width, left, right, up, down, middle_x, middle_y, span
                )
    found_x = tl.where(there, found_x, (width - 1) / 2.0)
    found_y = tl.where(there, found_y, (height - 1) / 2.0)
    found_x = tl.minimum(tl.maximum(found_x, -0.5), width - 0.5)
    found_y = tl.minimum(tl.maximum(found_y, -0.5), height - 0.5)
    tl.store(points + number * 2, found_x.to(tl.float32))
    tl.store(points + number * 2 + 1, found_y.to(tl.float32))
    tl.store(scores + number, high)


@triton.jit
def _peak(base, area, scan: tl.constexpr):
    """The largest value and the first index that has it; 0 and 0 for a map without a peak."""
    offsets = tl.arange(0, scan)
    best = tl.full([scan], float("-inf"), tl.float32)
    least = tl.full([scan], float("inf"), tl.float32)
    index = tl.zeros([scan], tl.int32)
    bad = tl.zeros([scan], tl.int32)
    for start in range(0, area, scan):
        at = start + offsets
        inside = at < area
        value = tl.load(base + at, mask=inside, other=0.0).to(tl.float32)
        bad = tl.where(inside & ((value - value) != 0), 1, bad)
        better = inside & (value > best)
        index = tl.where(better, at, index)
        best = tl.where(better, value, best)
        least = tl.where(inside & (value < least), value, least)
    high = tl.max(best, 0)
    first = tl.min(tl.where(best == high, index, area), 0)
    usable = (tl.max(bad, 0) == 0) & (high > tl.min(least, 0)) & (high > 0)
    return tl.where(usable, high, 0.0), tl.where(usable, first, 0)


@triton.jit
def _as_high(line, stride, at, count, high, lanes: tl.constexpr):
    """Contiguous pixels as high as that at `at`, before and after it, on a line of `count` pixels."""
    offsets = tl.arange(0, lanes)
    inside = offsets < count
    value = tl.load(line + offsets * stride, mask=inside, other=0.0).to(tl.float32)
    lower = inside & ((value != high) | (high == 0))
    away = offsets - at
    before = tl.max(tl.where(lower & (away < 0), away, -1 - at), 0)
    after = tl.min(tl.where(lower & (away > 0), away, count - at), 0)
    return -1 - before, after - 1


@triton.jit
def _middle(base, x, y, high, width, left, right, up, down, lanes: tl.constexpr):
    """The mean position of the pixels as high as the peak in the rectangle that the sides span."""
    away = tl.arange(0, lanes) - left
    inside = away <= right
    total = tl.zeros([lanes], tl.int32)
    sum_x = tl.zeros([lanes], tl.int32)
    sum_y = tl.zeros([lanes], tl.int32)
    for dy in range(-up, down + 1):
        value = tl.load(base + (y + dy) * width + x + away, mask=inside, other=0.0).to(tl.float32)
        flat = tl.where(inside & (value == high), 1, 0)
        total += flat
        sum_x += flat * away
        sum_y += flat * dy
    count = tl.maximum(tl.sum(total, 0), 1).to(tl.float64)
    return x + tl.sum(sum_x, 0).to(tl.float64) / count, y + tl.sum(sum_y, 0).to(tl.float64) / count


@triton.jit
def _centroid(base, x, y, top, height, width, span: tl.constexpr):
    """See kptool/decoders/centroid.py."""
    side = 2 * reach_of(base, x, y, top, height, width)
    across = tl.minimum(side, tl.minimum(x, width - 1 - x))
    down = tl.minimum(side, tl.minimum(y, height - 1 - y))
    total = tl.zeros([span], tl.float64)
    sum_x = tl.zeros([span], tl.float64)
    sum_y = tl.zeros([span], tl.float64)
    for start in range(-across, across + 1, span):
        away = start + tl.arange(0, span)
        for dy in range(-down, down + 1):
            at = base + (y + dy) * width + x + away
            weight = tl.maximum(tl.load(at, mask=away <= across, other=0.0).to(tl.float64), 0.0)
            total += weight
            sum_x += weight * away
            sum_y += weight * dy
    whole = tl.sum(total, 0)
    return x + tl.sum(sum_x, 0) / whole, y + tl.sum(sum_y, 0) / whole


@triton.jit
def _log_at(base, x, y, height, width):
    inside_x = tl.minimum(tl.maximum(x, 0), width - 1)
    inside_y = tl.minimum(tl.maximum(y, 0), height - 1)
    return tl.log(tl.maximum(tl.load(base + inside_y * width + inside_x).to(tl.float64), 1e-10))


@triton.jit
def _dark(base, x, y, height, width, left, right, up, down, middle_x, middle_y):
    """See kptool/decoders/dark.py."""
    o = _log_at(base, x, y, height, width)
    e, w = _log_at(base, x + 1, y, height, width), _log_at(base, x - 1, y, height, width)
    s, n = _log_at(base, x, y + 1, height, width), _log_at(base, x, y - 1, height, width)
    ee, ww = _log_at(base, x + 2, y, height, width), _log_at(base, x - 2, y, height, width)
    ss, nn = _log_at(base, x, y + 2, height, width), _log_at(base, x, y - 2, height, width)
    se, sw = _log_at(base, x + 1, y + 1, height, width), _log_at(base, x - 1, y + 1, height, width)
    ne, nw = _log_at(base, x + 1, y - 1, height, width), _log_at(base, x - 1, y - 1, height, width)
    gx, gy = 0.5 * (e - w), 0.5 * (s - n)
    xx, yy = 0.25 * (ee - 2 * o + ww), 0.25 * (ss - 2 * o + nn)
    xy = 0.25 * (se - sw - ne + nw)
    det = xx * yy - xy * xy
    room = tl.minimum(tl.minimum(x, width - 1 - x), tl.minimum(y, height - 1 - y))
    moves = (det > 0) & (xx < 0) & (room >= 2)
    det = tl.where(moves, det, 1.0)
    dx, dy = (xy * gy - yy * gx) / det, (xy * gx - xx * gy) / det
    shorter = tl.maximum(tl.sqrt(dx * dx + dy * dy), 1.0)
    found_x = tl.where(moves & (left + right == 0), x + dx / shorter, middle_x)
    found_y = tl.where(moves & (up + down == 0), y + dy / shorter, middle_y)
    return found_x, found_y
