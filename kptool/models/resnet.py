"""Direct regression with a ResNet-18-like backbone (He et al., CVPR 2016).

Four stages of two basic blocks. Unlike the original, made for images of 224x224 pixels, the stem halves the resolution
once and does not pool, since faces of 96x96 pixels have less resolution to give up.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kptool.base.geometry import Size, heatmap_size
from kptool.network.layers import ConvBlock, CoordinateHead, SyncedBatchNorm, initialise
from kptool.plugins import Model


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity (or a 1x1 projection where the shape changes)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), SyncedBatchNorm(outputs))
        same = inputs == outputs and stride == 1
        projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), SyncedBatchNorm(outputs))
        self.shortcut: nn.Module = nn.Identity() if same else projection

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(features)) + self.shortcut(features))


class ResNet(nn.Module):
    """Images (N, C, H, W) -> coordinates (N, K, 2), normalised to [-1, 1]."""

    def __init__(self, keypoints: int, size: Size, channels: int, width: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [ConvBlock(channels, width, stride=2)]
        inputs = width
        for level in range(4):
            outputs = width * 2**level
            stages += [BasicBlock(inputs, outputs, stride=1 if level == 0 else 2), BasicBlock(outputs, outputs, 1)]
            inputs = outputs
        self.backbone = nn.Sequential(*stages)
        self.head = CoordinateHead(inputs, heatmap_size(size, 16), keypoints)

    def forward(self, images: Tensor) -> Tensor:
        points: Tensor = self.head(self.backbone(images))
        return points


def build(keypoints: int, size: Size, channels: int, width: int) -> nn.Module:
    """The network, initialised from torch's global generator."""
    return initialise(ResNet(keypoints, size, channels, width))


MODEL = Model("coordinates", 1, 32, build, "ResNet-18-like backbone, fully connected head of 2K units")
