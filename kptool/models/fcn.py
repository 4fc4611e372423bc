"""Heatmap regression with a fully convolutional network (Long, Shelhamer & Darrell, CVPR 2015).

A VGG-like encoder; every level below the output's resolution predicts K maps with a 1x1 convolution, and the coarse
predictions are upsampled and summed into the fine ones, as in FCN-8s but down to stride 2.
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
    """Twice the resolution, bilinear, edges to edges."""
    return nn.functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def build(keypoints: int, size: Size, channels: int, width: int) -> nn.Module:
    """The network, initialised from torch's global generator; any `size` will do."""
    network = FCN(keypoints, channels, width)
    initialise(network)
    for weight in network.refine.parameters():
        if weight.ndim == 4:
            nn.init.dirac_(weight)  # starts as the plain sum of the scales, which is what it refines
    return network


MODEL = Model("heatmap", 2, 16, build, "fully convolutional VGG-like encoder, summed multi-scale score maps")
