"""Training targets, made from a batch after augmentation, on the batch's device."""

from __future__ import annotations

import torch
from torch import Tensor

from kptool import heatmaps
from kptool.base.config import ModelConfig
from kptool.base.geometry import Size, heatmap_size, to_heatmap
from kptool.network.keypoint_model import KeypointModel, pixels_to_normalised
from kptool.training.augmentation import Batch


class Targets:
    """Makes (target, points) as losses take them (see `kptool.plugins.Loss`), batch after batch.

    On the CPU, heatmaps are drawn into one array that the next call overwrites: use them before that.
    """

    def __init__(self, model: KeypointModel) -> None:
        self.config: ModelConfig = model.config
        self.output, self.stride = model.plugin.output, model.stride
        self._renderers: dict[Size, heatmaps.Renderer] = {}

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The targets of a batch: normalised coordinates (n, K, 2) twice, or heatmaps (n, K, h, w) with a peak of 1 and
        points (n, K, 2) in heatmap pixels."""
        if self.output == "coordinates":
            target = pixels_to_normalised(batch.points, self.config.size)
            return target, target
        size = (batch.images.shape[-2], batch.images.shape[-1])
        points = to_heatmap(batch.points, self.stride)
        on_cpu = points.device.type == "cpu"
        return self._render(batch, size) if on_cpu else self._compute(points, batch.labelled, size), points

    def _render(self, batch: Batch, size: Size) -> Tensor:
        """Heatmaps (n, K, h, w) of images of `size`, float32, drawn by the C++ core."""
        count, keypoints = batch.labelled.shape
        renderer = self._renderers.get(size)
        if renderer is None or len(renderer.heatmaps) < count:
            renderer = self._renderers[size] = heatmaps.Renderer(
                count,
                keypoints,
                size,
                self.config.sigma,
                stride=self.stride,
                threads=torch.get_num_threads(),
            )
        return torch.from_numpy(renderer(batch.points.numpy(), batch.labelled.numpy()))

    def _compute(self, points: Tensor, labelled: Tensor, size: Size) -> Tensor:
        """The same on an accelerator, as outer products of one-dimensional Gaussians about `points` (n, K, 2)."""
        height, width = heatmap_size(size, self.stride)
        x = torch.arange(width, device=points.device) - points[..., :1]
        y = torch.arange(height, device=points.device) - points[..., 1:]
        row, column = (torch.exp(-0.5 * (d / self.config.sigma).square()) for d in (x, y))
        return column[..., :, None] * row[..., None, :] * labelled[..., None, None]
