"""DARK (Zhang et al., CVPR 2020, equations 4 to 8): one Newton step on the log of the map from its largest pixel.

Gradient and curvature are central differences over one and two pixels. The paper's smoothing is omitted, since it costs
accuracy on clean maps. A step is at most one pixel long. Peaks within two pixels of the border, and those that are not a
maximum, are not moved; along a flat top, the result is its middle.
"""

import torch
from torch import Tensor

from kptool.network.peaks import Peaks, decode_with
from kptool.plugins import Decoder

_OFFSETS = (
    (0, 0),
    (1, 0),
    (-1, 0),
    (0, 1),
    (0, -1),
    (2, 0),
    (-2, 0),
    (0, 2),
    (0, -2),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
)


def locate(peaks: Peaks) -> tuple[Tensor, Tensor]:
    """x and y (M,) after the step, or the flat top's middle along an axis on which a neighbour is equally high."""
    peaks = peaks.centred()
    dx, dy = (torch.tensor([axis], device=peaks.x.device) for axis in zip(*_OFFSETS, strict=True))
    logs = peaks.at(dx, dy).clamp_min(1e-10).log()
    o, e, w, s, n, ee, ww, ss, nn, se, sw, ne, nw = logs.unbind(1)
    gx, gy = 0.5 * (e - w), 0.5 * (s - n)
    xx, yy = 0.25 * (ee - 2 * o + ww), 0.25 * (ss - 2 * o + nn)
    xy = 0.25 * (se - sw - ne + nw)
    det = xx * yy - xy * xy
    moves = (det > 0) & (xx < 0) & (peaks.room().amin(1) >= 2)
    det = torch.where(moves, det, 1)
    x, y = (xy * gy - yy * gx) / det, (xy * gx - xx * gy) / det
    shorter = (x.square() + y.square()).sqrt().clamp_min(1)  # ONNX has no hypot
    sides = peaks.plateau()
    left, right, up, down = (sides > 0).unbind(1)
    middle = peaks.middle(sides)
    x = torch.where(moves & ~(left | right), peaks.x + x / shorter, middle[0])
    y = torch.where(moves & ~(up | down), peaks.y + y / shorter, middle[1])
    return x, y


DECODER = Decoder(decode_with(locate, "dark"), "Newton step on the log of the map (Zhang et al. 2020)")
