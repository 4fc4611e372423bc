"""Squared error on heatmaps (Newell, Yang & Deng, ECCV 2016, section 3.1; also Merget et al., CVPR 2018)."""

from torch import Tensor

from kptool.plugins import Loss


def heatmap_mse(output: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Mean squared error over each map's pixels, (N, K)."""
    return (output - target).square().mean((-2, -1))


def activate(raw: Tensor, sigma: float) -> Tensor:
    """The output is the heatmap."""
    return raw


LOSS = Loss("heatmap", heatmap_mse, "squared error on heatmaps (Newell et al. 2016)", activate)
