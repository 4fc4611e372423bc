"""The Gaussian, of any width and height, that best fits a window around the peak; the default.

log v = a + b x + c y + d (x^2 + y^2), in units of `Peaks.reach` from the peak, has its maximum at -(b, c) / 2d (Guo, IEEE
Signal Processing Magazine, 2011). It is fitted to the logarithms with weights v^2, since noise of standard deviation s in
v is s / v in log v; one Gauss-Newton step then leads to least squares on the values. Near a border the window is cut off
and the fit uses one flank. On a flat top, as in maps clipped at 1 or 255, the values are only lower bounds: the flanks
are fitted, in logarithms alone.
"""

import torch
from torch import Tensor

from kptool.network.peaks import Peaks, decode_with
from kptool.plugins import Decoder

_LOG_FLOOR, _ZERO_FLOOR, _LEAST_PIVOT, _LEAST_TOP = 0.2, 1e-10, 1e-9, -0.01


def locate(peaks: Peaks) -> tuple[Tensor, Tensor]:
    """x and y (M,) of the fitted centres; where no Gaussian fits, the largest pixel or the middle of a flat top."""
    peaks = peaks.centred()
    unit, sides, room = peaks.reach(), peaks.plateau(), peaks.room()
    flat = ((sides > 0) | (room == 0)).all(1, keepdim=True)
    reach = (3 * unit + 1) // 2
    dx, dy, values, inside = peaks.window(*torch.minimum(reach.unsqueeze(1), room).unbind(1))
    x, y = dx / unit.unsqueeze(1), dy / unit.unsqueeze(1)
    terms = torch.stack([torch.ones_like(x), x, y, x.square() + y.square()], -1)
    v = values / peaks.height.clamp_min(1e-300).unsqueeze(1)
    near = dx.abs() + dy.abs() <= 2  # a narrow Gaussian in a corner has few other pixels
    used = (
        inside
        & ((values > _LOG_FLOOR * peaks.height.unsqueeze(1)) | (near & ~flat & (v > _ZERO_FLOOR)))
        & ~(flat & (v == 1))
    )
    weight = torch.where(used, v.square(), 0)
    fit = _solve(terms, weight, weight * torch.where(used, v, 1).log())
    there = _peaked(fit) & (~flat.squeeze(1) | (fit.select(1, 0) >= _LEAST_TOP))
    model = (terms @ torch.where(there.unsqueeze(1), fit, 0).unsqueeze(2)).squeeze(2).exp() * inside
    better = fit + _solve(terms, model.square(), model * (v - model))
    fit = torch.where(_peaked(better).unsqueeze(1) & ~flat, better, fit)
    shift = -0.5 * unit.unsqueeze(1) * fit.narrow(1, 1, 2) / torch.where(there, fit.select(1, 3), -1).unsqueeze(1)
    least, most = -sides[:, 0::2] - 0.5, sides[:, 1::2] + 0.5
    shift = torch.where(flat, torch.maximum(torch.minimum(shift, most), least), shift)
    middle_x, middle_y = peaks.middle(sides)
    return torch.where(there, peaks.x + shift[:, 0], middle_x), torch.where(there, peaks.y + shift[:, 1], middle_y)


def _peaked(fit: Tensor) -> Tensor:
    """Which fits (M, 4) have a maximum within one `reach` of the peak and at most e^4 times as high, (M,)."""
    a, b, c, d = fit.unbind(1)
    top = a - (b.square() + c.square()) / (4 * torch.where(d < 0, d, -1))
    return (d < 0) & (torch.maximum(b.abs(), c.abs()) <= -2 * d) & (top <= 4)


def _solve(terms: Tensor, weight: Tensor, pull: Tensor) -> Tensor:
    """Weighted least squares (M, 4) by Gaussian elimination; an unknown that the pixels do not determine is 0."""
    matrix = (terms * weight.unsqueeze(2)).transpose(1, 2) @ terms
    right = (terms * pull.unsqueeze(2)).sum(1).unsqueeze(2)
    rows = torch.cat([matrix, right], 2)  # (M, 4, 5); no in-place writes, which are slow to export
    least = (_LEAST_PIVOT * matrix.diagonal(dim1=1, dim2=2)).unbind(1)
    solved: list[
        tuple[Tensor, Tensor, tuple[Tensor, ...]]
    ] = []  # which unknowns are determined, their pivots, their rows
    for i in range(4):
        first, rows = rows.narrow(1, 0, 1), rows.narrow(1, 1, 3 - i)
        row = first.squeeze(1).unbind(1)
        used = row[i] > least[i]
        pivot = torch.where(used, row[i], 1)
        solved.append((used, pivot, row))
        if i < 3:
            factor = torch.where(used.unsqueeze(1), rows.select(2, i) / pivot.unsqueeze(1), 0)
            rows = rows - factor.unsqueeze(2) * first
    solution: list[Tensor] = []
    for i, (used, pivot, row) in reversed(list(enumerate(solved))):
        rest = row[4]
        for j, known in enumerate(reversed(solution), start=i + 1):
            rest = rest - row[j] * known
        solution.append(torch.where(used, rest / pivot, 0))
    return torch.stack(solution[::-1], 1)


DECODER = Decoder(decode_with(locate, "gaussian"), "a Gaussian fitted to a window around the peak; the default")
