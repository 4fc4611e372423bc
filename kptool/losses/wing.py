"""Wing loss on coordinates (Feng et al., CVPR 2018, equation 5).

    wing(x) = w ln(1 + |x| / epsilon)  where |x| < w,  |x| - C elsewhere,  C = w - w ln(1 + w / epsilon)

Small and medium errors weigh more than in L1 or L2. The paper's w = 10 and epsilon = 2 are pixels of images 256 pixels
wide; in units of half the image, they are about 0.08 and 0.016.
"""

import math

import torch
from torch import Tensor

from kptool.plugins import Loss

W, EPSILON = 0.08, 0.016


def wing(output: Tensor, target: Tensor, points: Tensor) -> Tensor:
    """Mean of the wing function over x and y, (N, K)."""
    error = (output - target).abs()
    offset = W - W * math.log1p(W / EPSILON)
    return torch.where(error < W, W * torch.log1p(error / EPSILON), error - offset).mean(-1)


LOSS = Loss("coordinates", wing, "wing loss on coordinates (Feng et al. 2018)")
