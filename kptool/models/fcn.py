"""Heatmap regression with a fully convolutional network (Long, Shelhamer & Darrell, CVPR 2015).

A VGG-like encoder; every level from stride 2 on predicts K maps with a 1x1 convolution, and coarse predictions are
upsampled and added to finer ones, as in FCN-8s but down to stride 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from kptool.base.geometry import Size
from kptool.network.layers import conv_stage, initialise, match_size
from kptool.plugins import Model

_DEPTHS = (2, 2, 3, 3, 3)


class FCN(nn.Module):
    """Images (N, C, H, W) -> raw heatmaps (N, K, ceil(H/2), ceil(W/2))."""

    def __init__(self, keypoints: int, channels: int, width: int) -> None:
        super().__init__()
        outputs = [width * min(2**level, 8) for level in range(len(_DEPTHS))]
        inputs = [channels, *outputs[:-1]]
        self.stages = nn.ModuleList(map(conv_stage, inputs, outputs, _DEPTHS))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.scores = nn.ModuleList(nn.Conv2d(c, keypoints, 1) for c in outputs[1:])
        self.refine = nn.ModuleList(nn.Conv2d(keypoints, keypoints, 5, padding=2) for _ in outputs[1:])

    def forward(self, images: Tensor) -> Tensor:
        features, levels = images, []
        for index, stage in enumerate(self.stages):
            features = stage(features if index == 0 else self.pool(features))
            levels.append(features)
        maps: Tensor = self.refine[-1](self.scores[-1](levels[-1]))
        for level, score, refine in zip(levels[-2:0:-1], self.scores[-2::-1], self.refine[-2::-1], strict=True):
            fine = score(level)
            maps = refine(fine + match_size(upsample(maps), fine))
        return maps


def upsample(maps: Tensor) -> Tensor:
    """Maps (N, K, h, w) at twice the resolution, bilinear, with aligned edges."""
    return nn.functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def build(keypoints: int, size: Size, channels: int, width: int) -> nn.Module:
    """The network, initialised from torch's global generator; `size` may be any."""
    network = FCN(keypoints, channels, width)
    initialise(network)
    for weight in network.refine.parameters():
        if weight.ndim == 4:
            nn.init.dirac_(weight)  # the network starts as the plain sum of its scales
    return network


MODEL = Model("heatmap", 2, 16, build, "fully convolutional VGG-like encoder, summed multi-scale score maps")
