"""Training batches on the device: images are uploaded once as uint8, and augmented there.

All random numbers of an epoch are drawn on the CPU from (seed, epoch) for the whole training set, and every batch takes
its part of them. So a batch depends neither on the device, nor on the number of processes that share it, nor on earlier
batches, and resuming needs no generator state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kptool.base.config import AugmentConfig
from kptool.base.geometry import swap_order
from kptool.data.absence import countable
from kptool.data.upright import maps_onto
from kptool.system.workers import Workers
from kptool.training.augmentation import Batch, augment, draw


@dataclass(frozen=True)
class TrainingSet:
    """Training images on a device. images: uint8 (N, C, H, W); points: float32 (N, K, 2); labelled: bool (N, K).

    linear: float32 (N, 2, 2), the linear part of the maps from the images' pixels to source pixels; None: the identity.
    absent: bool (N, K), the keypoints that are taught to be absent; None: none. upright: float32 (N, 2, 3), the maps that turn
    the objects upright; None: unknown.
    """

    images: Tensor
    points: Tensor
    labelled: Tensor
    linear: Tensor | None = None
    absent: Tensor | None = None
    upright: Tensor | None = None

    @classmethod
    def upload(
        cls,
        images: np.ndarray,
        points: np.ndarray,
        visibility: np.ndarray,
        device: torch.device,
        back: np.ndarray | None = None,
    ) -> TrainingSet:
        """From arrays (N, H, W) or (N, C, H, W), (N, K, 2), (N, K), and maps (N, 2, 3) to source pixels."""
        pixels = torch.from_numpy(np.ascontiguousarray(images if images.ndim == 4 else images[:, None]))
        arrays = [points, visibility > 0, *([] if back is None else [back[:, :, :2].astype(np.float32)])]
        return cls(pixels.to(device), *(torch.from_numpy(array).to(device) for array in arrays))

    def teaching_absence(self) -> TrainingSet:
        """The same images, with every keypoint without a label taught to be absent, but for those that
        `kptool.data.absence.left_out` finds."""
        labelled = self.labelled.cpu().numpy()
        absent = ~labelled & countable(labelled)
        return replace(self, absent=torch.from_numpy(absent).to(self.images.device))

    def turned_onto(self, shape: np.ndarray) -> TrainingSet:
        """The same images, with the maps that turn their objects onto `shape` (K, 2)."""
        maps = maps_onto(self.points.cpu().numpy(), self.labelled.cpu().numpy(), shape)
        return replace(self, upright=torch.from_numpy(maps).to(self.images.device))

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, index: Tensor) -> TrainingSet:
        """The samples at `index` (n,)."""
        index = index.to(self.images.device)
        others = (None if each is None else each[index] for each in (self.linear, self.absent, self.upright))
        return TrainingSet(self.images[index], self.points[index], self.labelled[index], *others)

    def take(self, index: Tensor) -> Batch:
        """The samples at `index` (n,) as a batch, not augmented."""
        part = self.subset(index)
        return Batch(part.images.float(), part.points, part.labelled, part.absent, part.upright)


class Epochs:
    """Augmented batches of a `TrainingSet`, epoch by epoch.

    Each epoch visits every sample once in a new order; a last batch that is not full is filled up with samples from the
    epoch's start, so that every step weighs the same. `steps` is the number of batches per epoch.
    """

    def __init__(
        self,
        data: TrainingSet,
        pairs: tuple[tuple[int, int], ...],
        config: AugmentConfig,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self.data, self.config, self.seed = data, config, seed
        self.batch_size = batch_size
        self.steps = max(1, math.ceil(len(data) / batch_size))
        self._swap = swap_order(data.points.shape[1], pairs)

    def epoch(
        self, number: int, workers: Workers | None = None, offset: Tensor | None = None, first: int = 0
    ) -> Iterator[Batch]:
        """The batches of epoch `number` from step `first` on; of each, the share of `workers`' rank.

        `offset` (K, 2) is subtracted from the labels.
        """
        workers = workers or Workers()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = torch.randperm(len(self.data), generator=generator)
        total = self.steps * self.batch_size
        order = order.repeat(math.ceil(total / len(order)))[:total]
        draws = draw(total, generator)
        for step in range(first, self.steps):
            mine = torch.arange(step * self.batch_size, (step + 1) * self.batch_size)[workers.rank :: workers.world]
            batch = self.data.take(order[mine])
            if offset is not None:
                batch = replace(batch, points=batch.points - offset)
            device = batch.images.device
            noise = torch.Generator(device).manual_seed(self.seed * 1_000_003 + number * 65_537 + step)
            yield augment(batch, draws[mine].to(device), self._swap, self.config, noise, workers)
