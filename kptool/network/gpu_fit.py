"""The Gaussian fit of `kptool/decoders/gaussian.py`, for the kernel of `kptool.network.gpu_decode`."""

from __future__ import annotations

import triton
import triton.language as tl

from kptool.network.peaks import MAX_REACH

_STEPS = tl.constexpr(MAX_REACH - 1)
_LEAST_PIVOT = tl.constexpr(1e-9)


@triton.jit
def _along(start, step, room, half):
    """Pixels that are at least `half`, in a row from the one after `start`, at most as many as there is room for."""
    number = tl.arange(0, 16) + 1
    inside = (number <= room) & (number <= _STEPS)
    value = tl.load(start + number * step, mask=inside, other=0.0).to(tl.float64)
    ends = (number <= _STEPS) & ((inside == 0) | (value < half))
    return tl.min(tl.where(ends, number - 1, _STEPS), 0)


@triton.jit
def reach_of(base, x, y, top, height, width):
    """See `Peaks.reach`."""
    here, half = base + y * width + x, 0.5 * top
    across = tl.maximum(_along(here, -1, x, half), _along(here, 1, width - 1 - x, half))
    down = tl.maximum(_along(here, -width, y, half), _along(here, width, height - 1 - y, half))
    return 1 + tl.maximum(across, down)


@triton.jit
def fit_gaussian(base, x, y, top, height, width, left, right, up, down, middle_x, middle_y, span: tl.constexpr):
    """See kptool/decoders/gaussian.py."""
    unit = reach_of(base, x, y, top, height, width)
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
