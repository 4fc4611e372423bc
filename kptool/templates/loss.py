"""The loss "example": smooth L1 on coordinates, in units of half the image.

Train with it by ``kptool train vgg --set loss=example --plugin example.py``.
"""

from __future__ import annotations

from torch import Tensor, nn

from kptool.plugins import Loss


def smooth_l1(output: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Mean over x and y, (N, K); `output` and `target` are (N, K, 2), normalised, and `points` is `target`."""
    return nn.functional.smooth_l1_loss(output, target, beta=0.02, reduction="none").mean(-1)


LOSS = Loss(output="coordinates", function=smooth_l1, summary="smooth L1 on coordinates")
