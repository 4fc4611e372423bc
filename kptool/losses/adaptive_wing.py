"""Adaptive wing loss on heatmaps (Wang, Bo & Fuxin, ICCV 2019, equations 3 and 5), with its weighted loss map.

    AWing(y, p) = omega ln(1 + |(y - p) / epsilon|^(alpha - y))     where |y - p| < theta
                  A |y - p| - C                                     elsewhere

A and C make it smooth at theta. It acts like the wing loss on foreground pixels (y near 1) and like the squared error on
background.
"""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from kptool.plugins import Loss

ALPHA, OMEGA, EPSILON, THETA, WEIGHT = 2.1, 14.0, 1.0, 0.5, 10.0


def adaptive_wing(output: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Mean over each map's pixels, (N, K); pixels where the target, dilated 3x3, is at least 0.2 have weight 11."""
    error = (target - output).abs()
    power = ALPHA - target
    ratio = torch.pow(THETA / EPSILON, power)
    slope = OMEGA / (1 + ratio) * power * (THETA / EPSILON) ** (power - 1) / EPSILON
    offset = THETA * slope - OMEGA * torch.log1p(ratio)
    # The clamp keeps the power's gradient finite at zero error.
    near = OMEGA * torch.log1p((error.clamp_min(1e-6) / EPSILON) ** power)
    loss = torch.where(error < THETA, near, slope * error - offset)
    weight = 1 + WEIGHT * (max_pool2d(target, 3, stride=1, padding=1) >= 0.2).to(loss.dtype)
    return (loss * weight).mean((-2, -1))


def activate(raw: Tensor, sigma: float) -> Tensor:
    """The output is the heatmap."""
    return raw


LOSS = Loss("heatmap", adaptive_wing, "adaptive wing loss on heatmaps (Wang et al. 2019)", activate)
