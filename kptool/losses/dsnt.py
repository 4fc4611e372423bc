"""Soft-argmax with a divergence that regularises the map's shape (DSNT: Nibali et al., 2018, equations 1 to 6).

The softmax p of the output is a distribution over pixels; its mean is the predicted point. The loss is the distance from
that point to the true one plus the Kullback-Leibler divergence KL(t || p), the sum of t (log t - log p) over the pixels,
where t is the target Gaussian, normalised to sum 1. The paper uses KL(p || t); the gradient of KL(t || p) with respect to
the output is p - t, as for cross-entropy. For an empty target, of a keypoint that is not there, t is uniform, which gives
the lowest possible peak, and there is no distance.
"""

import math

import torch
from torch import Tensor

from kptool.network.layers import vector
from kptool.plugins import Loss

_LEAST = 1e-6
"""Sum of a target below which it is empty: its point is far outside the map."""


def dsnt(output: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Distance in units of half the map plus KL(t || p) in nats, (N, K); only KL(t || p) for an empty target."""
    height, width = output.shape[-2:]
    log_p = output.float().flatten(2).log_softmax(-1)
    truth = target.float().flatten(2)
    total = truth.sum(-1, keepdim=True)
    truth = torch.where(total > _LEAST, truth / total.clamp_min(_LEAST), 1 / (height * width))
    divergence = (torch.xlogy(truth, truth) - truth * log_p).sum(-1)
    return torch.where(total[..., 0] > _LEAST, _distance(log_p.exp().view(output.shape), points), 0.0) + divergence


def separable(output: Tensor, column: Tensor, row: Tensor, points: Tensor) -> Tensor:
    """The same: with a target t = column x row, the sum of t log p is column . output . row minus the logarithm of the sum of
    exp(output), and that of t log t the sum of those of both factors."""
    output = output.float()
    total = output.flatten(2).logsumexp(-1)
    column, row = column.float(), row.float()
    there = (column.sum(-1) > _LEAST) & (row.sum(-1) > _LEAST)
    column, row = (
        torch.where(there[..., None], each / each.sum(-1, keepdim=True).clamp_min(_LEAST), 1 / each.shape[-1])
        for each in (column, row)
    )
    expected = (column[..., None, :] @ output @ row[..., None])[..., 0, 0]
    entropy = torch.xlogy(column, column).sum(-1) + torch.xlogy(row, row).sum(-1)
    distance = _distance((output - total[..., None, None]).exp(), points)
    return torch.where(there, distance, 0.0) + entropy - expected + total


def _distance(p: Tensor, points: Tensor) -> Tensor:
    """The distance of the mean of p (N, K, h, w) from `points`, in units of half the map."""
    height, width = p.shape[-2:]
    x = p.sum(-2) @ torch.arange(width, dtype=p.dtype, device=p.device)
    y = p.sum(-1) @ torch.arange(height, dtype=p.dtype, device=p.device)
    scale = vector(p, 2 / width, 2 / height)
    return (((torch.stack([x, y], -1) - points) * scale).square().sum(-1) + 1e-8).sqrt()


def activate(raw: Tensor, sigma: float) -> Tensor:
    """The softmax, scaled so that a Gaussian of the target's sigma peaks at 1."""
    return raw.float().flatten(2).softmax(-1).view(raw.shape) * (2 * math.pi * sigma**2)


LOSS = Loss(
    "heatmap", dsnt, "soft-argmax distance + KL(Gaussian || prediction) (after Nibali et al. 2018)", activate, separable
)
