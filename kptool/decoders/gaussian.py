"""A Gaussian of one width, fitted by least squares to the window above 15 % of the peak; the default.

First the log-parabola weighted by value squared, then two Gauss-Newton steps to the least-squares solution on the
values themselves, in which noise does not bias the logarithm. The window is cut by the border and the fit is not, so a
peak at the border is found from one side. Where the map is no Gaussian, the windowed centroid answers.
"""

import torch
from torch import Tensor

from kptool.peaks import Peaks, centroid, decode_with
from kptool.plugins import Decoder


def locate(peaks: Peaks) -> tuple[Tensor, Tensor]:
    """x and y (M,) of the fitted centres."""
    reach = torch.minimum(peaks.extent(0.15).clamp_min(2), peaks.room())
    dx, dy, values, inside = peaks.window(*reach.unbind(1))
    terms = torch.stack([torch.ones_like(dx), dx, dy, dx.square() + dy.square()], -1)
    v = values / peaks.height.clamp_min(1e-300)[:, None]
    near = dx.abs() + dy.abs() <= 2  # of a narrow Gaussian in a corner, few other pixels are left
    used = inside & ((v >= 0.1) | (near & (v > 1e-3)))
    c, solved = _solve(terms, torch.where(used, v.square(), 0), torch.where(used, v, 1).log())
    good = solved & (c[:, 3] < 0)
    going = good
    for _ in range(2):
        p = (terms * torch.where(good[:, None], c, 0)[:, None]).sum(-1)
        m = p.clamp(-20, 1).exp()
        used = inside & ((m > 0.02) | near)
        better, solved = _solve(terms, torch.where(used, m.square(), 0), p + (v - m) / m)
        going = going & solved & (better[:, 3] < 0)
        c = torch.where(going[:, None], better, c)
    curvature = torch.where(good, c[:, 3], -1)
    x, y = -0.5 * c[:, 1] / curvature, -0.5 * c[:, 2] / curvature
    good = good & (x.abs() <= 1.5) & (y.abs() <= 1.5)
    stay_x, stay_y = centroid(peaks)
    return torch.where(good, peaks.x + x, stay_x), torch.where(good, peaks.y + y, stay_y)


def _solve(terms: Tensor, weight: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted least squares in the four coefficients: (M, 4), and where the system determined them (M,)."""
    terms = terms.expand(len(weight), -1, -1)
    weighted = terms * weight[..., None]
    normal = weighted.transpose(1, 2) @ terms
    right = (weighted * target[..., None]).sum(1)
    factor, failed = torch.linalg.cholesky_ex(normal)
    # The pivots, as shares of the diagonal: too small a one means that the pixels do not tell the coefficients apart.
    pivot = factor.diagonal(dim1=1, dim2=2).square() / normal.diagonal(dim1=1, dim2=2).clamp_min(1e-300)
    solved = (failed == 0) & (pivot > 1e-10).all(1)
    factor = torch.where(solved[:, None, None], factor, torch.eye(4, dtype=factor.dtype, device=factor.device))
    return torch.cholesky_solve(right[..., None], factor)[..., 0], solved


DECODER = Decoder(decode_with(locate), "a Gaussian fitted to the window about the peak; the default")
