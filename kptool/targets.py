"""What a network is trained towards, made from a batch after augmentation, on the batch's device."""

from __future__ import annotations

import torch
from torch import Tensor

from kptool import heatmaps
from kptool.batches import Batch
from kptool.detector import Detector, pixels_to_normalised
from kptool.geometry import Size, heatmap_size


def make_targets(detector: Detector, batch: Batch) -> tuple[Tensor, Tensor]:
    """(target, points) as the losses want them: see `kptool.plugins.Loss`."""
    if detector.model.output == "coordinates":
        target = pixels_to_normalised(batch.points, detector.config.size)
        return target, target
    stride = detector.model.stride
    maps = render(batch, detector.config.size, detector.config.sigma, stride)
    return maps, (batch.points + 0.5) / stride - 0.5


def render(batch: Batch, size: Size, sigma: float, stride: int) -> Tensor:
    """Heatmaps (n, K, h, w), float32, of a batch's keypoints: the C++ core on the CPU, separable products elsewhere."""
    if batch.points.device.type == "cpu":
        maps = heatmaps.render(
            batch.points.numpy(),
            size,
            sigma,
            stride=stride,
            visibility=batch.labelled.numpy().astype("uint8"),
            threads=torch.get_num_threads(),
        )
        return torch.from_numpy(maps)
    height, width = heatmap_size(size, stride)
    points = (batch.points + 0.5) / stride - 0.5
    x = torch.arange(width, device=points.device) - points[..., :1]
    y = torch.arange(height, device=points.device) - points[..., 1:]
    row, column = (torch.exp(-0.5 * (d / sigma).square()) for d in (x, y))
    return column[..., :, None] * row[..., None, :] * batch.labelled[..., None, None]
