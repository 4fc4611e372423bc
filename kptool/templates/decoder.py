"""The decoder "example": the centre of mass of a heatmap's fourth power, which a low background hardly moves.

Use it with ``kptool evaluate RUN --decoder example --plugin example.py``, or train with ``--set decoder=example``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kptool.plugins import Decoder


def centre(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Heatmaps (N, K, h, w) -> points (N, K, 2), (x, y) in heatmap pixels, and scores (N, K)."""
    weight = maps.clamp_min(0) ** 4
    total = weight.sum((2, 3)).clamp_min(1e-12)
    x = torch.arange(maps.shape[3], device=maps.device, dtype=maps.dtype)
    y = torch.arange(maps.shape[2], device=maps.device, dtype=maps.dtype)
    points = torch.stack([(weight.sum(2) * x).sum(-1), (weight.sum(3) * y).sum(-1)], -1) / total[..., None]
    return points, maps.amax((2, 3))


DECODER = Decoder(function=centre, summary="the centre of mass of the fourth power")
