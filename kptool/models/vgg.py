"""Direct regression with a VGG-16-like backbone (Simonyan & Zisserman, ICLR 2015).

Thirteen 3x3 convolutions in five stages with max pooling between, batch norm added; narrower than the original,
which was made for 224x224 photographs of a thousand classes.
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
        # The last pooling would leave 3x3 cells of a 96x96 face; at 6x6 a cell is 16 pixels and says more about where.
        self.backbone = nn.Sequential(*stages[:-1])
        self.head = CoordinateHead(inputs, heatmap_size(size, 16), keypoints)

    def forward(self, images: Tensor) -> Tensor:
        points: Tensor = self.head(self.backbone(images))
        return points


def build(keypoints: int, size: Size, channels: int, width: int) -> nn.Module:
    """The network, initialised from torch's global generator."""
    return initialise(VGG(keypoints, size, channels, width))


MODEL = Model("coordinates", 1, 16, build, "VGG-16-like backbone, fully connected head of 2K units")
