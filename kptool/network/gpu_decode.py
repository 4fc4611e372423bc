"""The decoders as one kernel for GPUs: each map is read once, and decoded where it was read.

The arithmetic is that of the torch decoders, `kptool.network.peaks` and `kptool.decoders`, in the same order and types, so that
points agree to rounding. Imported only where Triton is there, which comes with torch for GPUs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kptool.network.peaks import MAX_REACH, ROUNDS

METHODS = ("argmax", "centroid", "dark", "gaussian")
_SCAN = 512
"""Pixels that are read at a time."""
_LANES = 32
"""Columns of a window that are read at a time."""
_STEPS, _ROUNDS = tl.constexpr(MAX_REACH - 1), tl.constexpr(ROUNDS)
_NEVER = tl.constexpr(1 << 20)
_LEAST_PIVOT = tl.constexpr(1e-9)


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
                found_x, found_y = _gaussian(
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
def _along(start, step, room, half):
    """Pixels that are at least `half`, in a row from the one after `start`, at most as many as there is room for."""
    number = tl.arange(0, 16) + 1
    inside = (number <= room) & (number <= _STEPS)
    value = tl.load(start + number * step, mask=inside, other=0.0).to(tl.float64)
    ends = (number <= _STEPS) & ((inside == 0) | (value < half))
    return tl.min(tl.where(ends, number - 1, _STEPS), 0)


@triton.jit
def _reach(base, x, y, top, height, width):
    """See `Peaks.reach`."""
    here, half = base + y * width + x, 0.5 * top
    across = tl.maximum(_along(here, -1, x, half), _along(here, 1, width - 1 - x, half))
    down = tl.maximum(_along(here, -width, y, half), _along(here, width, height - 1 - y, half))
    return 1 + tl.maximum(across, down)


@triton.jit
def _centroid(base, x, y, top, height, width, span: tl.constexpr):
    """See kptool/decoders/centroid.py."""
    side = 2 * _reach(base, x, y, top, height, width)
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


@triton.jit
def _gaussian(base, x, y, top, height, width, left, right, up, down, middle_x, middle_y, span: tl.constexpr):
    """See kptool/decoders/gaussian.py."""
    unit = _reach(base, x, y, top, height, width)
    reach = (3 * unit + 1) // 2
    flat_x = ((left > 0) | (x == 0)) & ((right > 0) | (x == width - 1))
    flat_y = ((up > 0) | (y == 0)) & ((down > 0) | (y == height - 1))
    flat = flat_x & flat_y
    across, beyond = tl.minimum(reach, x), tl.minimum(reach, width - 1 - x)
    above, below = tl.minimum(reach, y), tl.minimum(reach, height - 1 - y)
    none = 0.0 * top
    a, b, c, d = _fit(
        base, x, y, top, width, across, beyond, above, below, unit, flat, none, none, none, none, False, span
    )
    there = _peaked(a, b, c, d) & ((flat == 0) | (a >= -0.01))
    a1, b1 = tl.where(there, a, none), tl.where(there, b, none)
    c1, d1 = tl.where(there, c, none), tl.where(there, d, none)
    a2, b2, c2, d2 = _fit(base, x, y, top, width, across, beyond, above, below, unit, flat, a1, b1, c1, d1, True, span)
    better = _peaked(a + a2, b + b2, c + c2, d + d2) & (flat == 0)
    b, c, d = tl.where(better, b + b2, b), tl.where(better, c + c2, c), tl.where(better, d + d2, d)
    scale = -0.5 * unit / tl.where(there, d, -1.0)
    dx, dy = scale * b, scale * c
    dx = tl.where(flat, tl.maximum(tl.minimum(dx, right + 0.5), -left - 0.5), dx)
    dy = tl.where(flat, tl.maximum(tl.minimum(dy, down + 0.5), -up - 0.5), dy)
    return tl.where(there, x + dx, middle_x), tl.where(there, y + dy, middle_y)


@triton.jit
def _peaked(a, b, c, d):
    """Whether a fit has a maximum within one `reach` of the peak and at most e^4 times as high."""
    top = a - (b * b + c * c) / (4 * tl.where(d < 0, d, -1.0))
    return (d < 0) & (tl.maximum(tl.abs(b), tl.abs(c)) <= -2 * d) & (top <= 4)


@triton.jit
def _fit(
    base,
    x,
    y,
    top,
    width,
    across,
    beyond,
    above,
    below,
    unit,
    flat,
    a,
    b,
    c,
    d,
    again: tl.constexpr,
    span: tl.constexpr,
):
    """The weighted fit to the logarithms; again, the Gauss-Newton step from the fit a, b, c, d."""
    floor = tl.maximum(top, 1e-300)
    m00 = tl.zeros([span], tl.float64)
    m01, m02, m03, m11, m12, m13, m22, m23, m33 = m00, m00, m00, m00, m00, m00, m00, m00, m00
    p0, p1, p2, p3 = m00, m00, m00, m00
    for start in range(-across, beyond + 1, span):
        away = start + tl.arange(0, span)
        inside = away <= beyond
        u = away.to(tl.float64) / unit
        for dy in range(-above, below + 1):
            value = tl.load(base + (y + dy) * width + x + away, mask=inside, other=0.0).to(tl.float64)
            v = value / floor
            t = (0.0 * top + dy) / unit
            q = u * u + t * t
            if again:
                model = tl.where(inside, tl.exp(a + b * u + c * t + d * q), 0.0)
                weight, pull = model * model, model * (v - model)
            else:
                near = tl.abs(away) + tl.abs(0 * away + dy) <= 2
                used = inside & ((value > 0.2 * top) | (near & (flat == 0) & (v > 1e-10)))
                used = used & ((flat == 0) | (v != 1))
                weight = tl.where(used, v * v, 0.0)
                pull = weight * tl.log(tl.where(used, v, 1.0))
            m00 += weight
            m01 += weight * u
            m02 += weight * t
            m03 += weight * q
            m11 += weight * u * u
            m12 += weight * u * t
            m13 += weight * u * q
            m22 += weight * t * t
            m23 += weight * t * q
            m33 += weight * q * q
            p0 += pull
            p1 += pull * u
            p2 += pull * t
            p3 += pull * q
    # fmt: off
    return _solve(
        tl.sum(m00, 0), tl.sum(m01, 0), tl.sum(m02, 0), tl.sum(m03, 0), tl.sum(m11, 0), tl.sum(m12, 0), tl.sum(m13, 0),
        tl.sum(m22, 0), tl.sum(m23, 0), tl.sum(m33, 0), tl.sum(p0, 0), tl.sum(p1, 0), tl.sum(p2, 0), tl.sum(p3, 0),
    )
    # fmt: on


@triton.jit
def _solve(m00, m01, m02, m03, m11, m12, m13, m22, m23, m33, p0, p1, p2, p3):
    """Gaussian elimination of the symmetric system; an unknown that the pixels do not determine is 0."""
    least1, least2, least3 = _LEAST_PIVOT * m11, _LEAST_PIVOT * m22, _LEAST_PIVOT * m33
    used0 = m00 > _LEAST_PIVOT * m00
    pivot0 = tl.where(used0, m00, 1.0)
    f1, f2, f3 = m01 / pivot0, m02 / pivot0, m03 / pivot0
    f1, f2, f3 = tl.where(used0, f1, 0.0), tl.where(used0, f2, 0.0), tl.where(used0, f3, 0.0)
    m11, m12, m13, p1 = m11 - f1 * m01, m12 - f1 * m02, m13 - f1 * m03, p1 - f1 * p0
    m22, m23, p2 = m22 - f2 * m02, m23 - f2 * m03, p2 - f2 * p0
    m33, p3 = m33 - f3 * m03, p3 - f3 * p0
    used1 = m11 > least1
    pivot1 = tl.where(used1, m11, 1.0)
    f2, f3 = tl.where(used1, m12 / pivot1, 0.0), tl.where(used1, m13 / pivot1, 0.0)
    m22, m23, p2 = m22 - f2 * m12, m23 - f2 * m13, p2 - f2 * p1
    m33, p3 = m33 - f3 * m13, p3 - f3 * p1
    used2 = m22 > least2
    pivot2 = tl.where(used2, m22, 1.0)
    f3 = tl.where(used2, m23 / pivot2, 0.0)
    m33, p3 = m33 - f3 * m23, p3 - f3 * p2
    used3 = m33 > least3
    d = tl.where(used3, p3 / tl.where(used3, m33, 1.0), 0.0)
    c = tl.where(used2, (p2 - m23 * d) / pivot2, 0.0)
    b = tl.where(used1, (p1 - m12 * c - m13 * d) / pivot1, 0.0)
    a = tl.where(used0, (p0 - m01 * b - m02 * c - m03 * d) / pivot0, 0.0)
    return a, b, c, d
