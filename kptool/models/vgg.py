"""Direct regression with a VGG-16-like backbone (Simonyan & Zisserman, ICLR 2015).

Thirteen 3x3 convolutions in five stages with max pooling between them, and batch norm; narrower than the original, which
was made for ImageNet.
"""

from __future__ import annotations

from torch import Tensor, nn

from kptool.base.geometry import Size, heatmap_size
from kptool.network.layers import CoordinateHead, conv_stage, initialise
from kptool.plugins import Model

_DEPTHS = (2, 2, 3, 3, 3)


class VGG(nn.Module):
    """Images (N, C, H, W) -> coordinates (N, K, 2), normalised to [-1, 1]."""

    def __init__(self, keypoints: int, size: Size, channels: int, width: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        inputs = channels
        for level, depth in enumerate(_DEPTHS):
            outputs = width * min(2**level, 8)
            stages += [conv_stage(inputs, outputs, depth), nn.MaxPool2d(2, ceil_mode=True)]
            inputs = outputs
        # Without the last pooling: features of a 96x96 image stay at 6x6, which localises better than 3x3.
        self.backbone = nn.Sequential(*stages[:-1])
        self.head = CoordinateHead(inputs, heatmap_size(size, 16), keypoints)

    def forward(self, images: Tensor) -> Tensor:
        points: Tensor = self.head(self.backbone(images))
        return points


def build(keypoints: int, size: Size, channels: int, width: int) -> nn.Module:
    """The network, initialised from torch's global generator."""
    return initialise(VGG(keypoints, size, channels, width))


MODEL = Model("coordinates", 1, 16, build, "VGG-16-like backbone, fully connected head of 2K units")
