"""The centre of mass in a window around the peak: robust, slightly biased.

The window extends twice `Peaks.reach` to each side of the peak, or of a flat top's middle; a border shortens it on both
sides alike, so that it stays symmetric.
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


DECODER = Decoder(decode_with(locate, "centroid"), "weighted average in a window around the peak")
