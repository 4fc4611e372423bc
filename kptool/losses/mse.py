"""Squared error on coordinates: the plain loss of direct regression."""

from torch import Tensor

from kptool.plugins import Loss


def mse(output: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Mean over x and y of the squared error, in units of half the image."""
    return (output - target).square().mean(-1)


LOSS = Loss("coordinates", mse, "squared error on coordinates")
