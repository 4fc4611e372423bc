"""Pixel-wise sigmoid cross-entropy on heatmaps (Bulat & Tzimiropoulos, ECCV 2016, section 3).

The paper's targets are discs of ones; here they are Gaussians, taken as the probability that a pixel is the keypoint, so
that the sigmoid of the output has a peak with sub-pixel information.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from kptool.plugins import Loss


def bce(output: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, over each map's pixels, (N, K)."""
    return binary_cross_entropy_with_logits(output, target, reduction="none").mean((-2, -1))


def separable(output: Tensor, column: Tensor, row: Tensor, points: Tensor) -> Tensor:
    """The same: the sum over the pixels of log(1 + exp(output)), minus column . output . row."""
    expected = (column[..., None, :] @ output @ row[..., None])[..., 0, 0]
    return softplus(output).mean((-2, -1)) - expected / (output.shape[-2] * output.shape[-1])


def activate(raw: Tensor, sigma: float) -> Tensor:
    """The sigmoid: each pixel's probability."""
    return torch.sigmoid(raw)


LOSS = Loss("heatmap", bce, "pixel-wise sigmoid cross-entropy (Bulat & Tzimiropoulos 2016)", activate, separable)
