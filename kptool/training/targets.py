"""Training targets, made from a batch after augmentation, on the batch's device."""

from __future__ import annotations

import torch
from torch import Tensor

from kptool import heatmaps
from kptool.base.config import ModelConfig
from kptool.base.geometry import Size, heatmap_size, to_heatmap
from kptool.network.keypoint_model import KeypointModel, pixels_to_normalised
from kptool.plugins import Loss
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
        if on_cpu:
            return self._render(batch, size), points
        column, row, points = self.factors(batch)
        return column[..., :, None] * row[..., None, :], points

    def losses(self, loss: Loss, raw: Tensor, batch: Batch) -> Tensor:
        """The loss (n, K) of the network's raw output for each keypoint of a batch."""
        if loss.separable is not None:
            return loss.separable(raw, *self.factors(batch))
        return loss.function(raw, *self(batch))

    def factors(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The targets as `Loss.separable` takes them: column (n, K, h) and row (n, K, w), whose outer product they are, and
        points; both factors are 0 where there is no label."""
        points = to_heatmap(batch.points, self.stride)
        height, width = heatmap_size((batch.images.shape[-2], batch.images.shape[-1]), self.stride)
        row, column = (
            torch.exp(
                -0.5
                * ((torch.arange(side, device=points.device) - points[..., axis, None]) / self.config.sigma).square()
            )
            for axis, side in enumerate((width, height))
        )
        there = batch.labelled[..., None]
        return column * there, row * there, points

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
