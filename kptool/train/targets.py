"""What a network is trained towards, made from a batch after augmentation, on the batch's device."""

from __future__ import annotations

import torch
from torch import Tensor

from kptool import heatmaps
from kptool.base.config import ModelConfig
from kptool.base.geometry import heatmap_size
from kptool.network.keypoint_model import KeypointModel, pixels_to_normalised
from kptool.train.augmentation import Batch


class Targets:
    """Makes (target, points) as the losses want them (see `kptool.plugins.Loss`), batch after batch.

    On the CPU the heatmaps lie in one array that the next call draws anew: use them before that.
    """

    def __init__(self, model: KeypointModel) -> None:
        self.config: ModelConfig = model.config
        self.output, self.stride = model.plugin.output, model.plugin.stride
        self._renderer: heatmaps.Renderer | None = None

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.output == "coordinates":
            target = pixels_to_normalised(batch.points, self.config.size)
            return target, target
        maps = self._draw(batch) if batch.points.device.type == "cpu" else self._compute(batch)
        return maps, (batch.points + 0.5) / self.stride - 0.5

    def _draw(self, batch: Batch) -> Tensor:
        """Heatmaps (n, K, h, w), float32, by the C++ core."""
        count, keypoints = batch.labelled.shape
        if self._renderer is None or len(self._renderer.heatmaps) < count:
            self._renderer = heatmaps.Renderer(
                count,
                keypoints,
                self.config.size,
                self.config.sigma,
                stride=self.stride,
                threads=torch.get_num_threads(),
            )
        return torch.from_numpy(self._renderer(batch.points.numpy(), batch.labelled.numpy()))

    def _compute(self, batch: Batch) -> Tensor:
        """The same on an accelerator, as separable products."""
        height, width = heatmap_size(self.config.size, self.stride)
        points = (batch.points + 0.5) / self.stride - 0.5
        x = torch.arange(width, device=points.device) - points[..., :1]
        y = torch.arange(height, device=points.device) - points[..., 1:]
        row, column = (torch.exp(-0.5 * (d / self.config.sigma).square()) for d in (x, y))
        return column[..., :, None] * row[..., None, :] * batch.labelled[..., None, None]
