"""Squared error on coordinates, the standard loss of direct regression."""

from torch import Tensor

from kptool.plugins import Loss


def mse(output: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Mean squared error over x and y, (N, K), in units of half the image."""
    return (output - target).square().mean(-1)


LOSS = Loss("coordinates", mse, "squared error on coordinates")
