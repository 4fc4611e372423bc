"""The model "example": a small convolutional network that predicts a heatmap for every keypoint.

Train it with ``kptool train example --plugin example.py``.
"""

from __future__ import annotations

from torch import nn

from kptool.plugins import Model


def build(keypoints: int, size: tuple[int, int], channels: int, width: int) -> nn.Module:
    """The network for images (N, channels, H, W); it returns raw heatmaps (N, keypoints, ceil(H/4), ceil(W/4)).

    `size` is (H, W); a fully convolutional network takes any.
    """
    layers: list[nn.Module] = []
    inputs = channels
    for outputs, stride, dilation in ((width, 2, 1), (2 * width, 2, 1), (2 * width, 1, 2), (2 * width, 1, 4)):
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.Conv2d(inputs, keypoints, 1))


MODEL = Model(
    output="heatmap",
    stride=4,
    default_width=32,
    build=build,
    summary="a small fully convolutional network",
    recipe={"loss": "dsnt", "epochs": 40},
)
