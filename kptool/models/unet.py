"""Heatmap regression with a U-Net (Ronneberger, Fischer & Brox, MICCAI 2015).

The stem halves the resolution, and the output stays at half: with sub-pixel decoding, heatmaps at full resolution take
four times the work and are no more accurate. Four levels down and up with skip connections follow.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from kptool.base.geometry import Size
from kptool.network.layers import ConvBlock, conv_stage, initialise, match_size
from kptool.plugins import Model

_LEVELS = 4


class Up(nn.Module):
    """Upsample, concatenate the skip connection, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.stage = conv_stage(outputs + skip, outputs, 2)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        joined: Tensor = self.stage(torch.cat([match_size(self.up(features), skip), skip], dim=1))
        return joined


class UNet(nn.Module):
    """Images (N, C, H, W) -> raw heatmaps (N, K, ceil(H/2), ceil(W/2))."""

    def __init__(self, keypoints: int, channels: int, width: int) -> None:
        super().__init__()
        widths = [width * min(2**level, 4) for level in range(_LEVELS + 1)]
        self.stem = ConvBlock(channels, width, kernel=5, stride=2)
        self.down = nn.ModuleList(conv_stage(a, b, 2) for a, b in zip([width, *widths], widths, strict=False))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.up = nn.ModuleList(Up(b, a, a) for a, b in pairwise(widths))
        self.head = nn.Conv2d(width, keypoints, 1)

    def forward(self, images: Tensor) -> Tensor:
        features, skips = self.stem(images), []
        for index, stage in enumerate(self.down):
            features = stage(features if index == 0 else self.pool(features))
            skips.append(features)
        for up, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            features = up(features, skip)
        maps: Tensor = self.head(features)
        return maps


def build(keypoints: int, size: Size, channels: int, width: int) -> nn.Module:
    """The network, initialised from torch's global generator; `size` may be any."""
    return initialise(UNet(keypoints, channels, width))


MODEL = Model("heatmap", 2, 32, build, "U-Net at half resolution, four levels deep")
