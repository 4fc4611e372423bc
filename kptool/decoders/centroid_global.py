"""The centre of mass of the whole map: the textbook form, which noise and borders bias."""

import torch
from torch import Tensor

from kptool.network.peaks import Peaks, decode_with
from kptool.plugins import Decoder


def locate(peaks: Peaks) -> tuple[Tensor, Tensor]:
    """x and y (M,) of the centres of mass; negative values count as zero."""
    weight = peaks.maps.double().clamp_min(0)
    height, width = weight.shape[-2:]
    total = weight.sum((1, 2))
    x = weight.sum(1) @ torch.arange(width, dtype=torch.float64, device=weight.device)
    y = weight.sum(2) @ torch.arange(height, dtype=torch.float64, device=weight.device)
    return x / total, y / total


DECODER = Decoder(decode_with(locate), "weighted average over the whole map")
