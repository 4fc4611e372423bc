"""The mean position weighted by value, in a window about the largest pixel: robust, slightly biased.

The window is two `reach` to each side; a border cuts it evenly, so that it stays symmetric about the peak: of a flat
top, about its middle.
"""

import torch
from torch import Tensor

from kptool.network.peaks import Peaks, decode_with
from kptool.plugins import Decoder


def locate(peaks: Peaks) -> tuple[Tensor, Tensor]:
    """x and y (M,) of the centres of mass; negative values count as zero."""
    peaks = peaks.centred()
    side, room = 2 * peaks.reach(), peaks.room()
    rx = torch.minimum(side, room[:, :2].amin(1))
    ry = torch.minimum(side, room[:, 2:].amin(1))
    dx, dy, values, inside = peaks.window(rx, rx, ry, ry)
    weight = torch.where(inside, values, 0).clamp_min(0)
    total = weight.sum(1)
    return peaks.x + (weight * dx).sum(1) / total, peaks.y + (weight * dy).sum(1) / total


DECODER = Decoder(decode_with(locate), "weighted average in a window about the peak")
