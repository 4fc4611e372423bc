"""Training batches on the device: images are uploaded once as uint8, or read from the cache as they are needed, and
augmented there.

All random numbers of an epoch are drawn on the CPU from (seed, epoch) for the whole training set, and every batch takes
its part of them. So a batch depends neither on the device, nor on the number of processes that share it, nor on earlier
batches, and resuming needs no generator state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from kptool.base.config import AugmentConfig
from kptool.base.geometry import swap_order
from kptool.cache.stored_images import StoredImages, window
from kptool.data.absence import countable
from kptool.data.upright import maps_onto
from kptool.system.workers import Workers
from kptool.training.augmentation import Batch, augment, draw
from kptool.training.order import shuffled


@dataclass(frozen=True)
class TrainingSet:
    """Training images. images: uint8 (N, C, H, W) on the device, or in the cache. points: float32 (N, K, 2), labelled: bool
    (N, K), on the device.

    linear: float32 (N, 2, 2), the linear part of the maps from the images' pixels to source pixels; None: the identity.
    absent: bool (N, K), the keypoints that are taught to be absent; None: none. upright: float32 (N, 2, 3), the maps that turn
    the objects upright; None: unknown. chunk: int64 (N,), the chunk of the cache that each image is in; None: not in one.
    window: the number of chunks among which images are mixed.
    """

    images: Tensor | StoredImages
    points: Tensor
    labelled: Tensor
    linear: Tensor | None = None
    absent: Tensor | None = None
    upright: Tensor | None = None
    chunk: Tensor | None = None
    window: int = 1

    @classmethod
    def upload(
        cls,
        images: np.ndarray | StoredImages,
        points: np.ndarray,
        visibility: np.ndarray,
        device: torch.device,
        back: np.ndarray | None = None,
    ) -> TrainingSet:
        """From arrays (N, H, W) or (N, C, H, W), (N, K, 2), (N, K), and maps (N, 2, 3) to source pixels."""
        pixels: Tensor | StoredImages
        if isinstance(images, StoredImages):
            pixels = images
        else:
            pixels = torch.from_numpy(np.ascontiguousarray(images if images.ndim == 4 else images[:, None])).to(device)
        linear = None if back is None else torch.from_numpy(back[:, :, :2].astype(np.float32)).to(device)
        known, labelled = (torch.from_numpy(each).to(device) for each in (points, visibility > 0))
        return cls(pixels, known, labelled, linear)

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        return self.points.device

    def stored_in(self, images: StoredImages) -> TrainingSet:
        """The same samples, visited in the order of a cache that has their images."""
        chunk = torch.from_numpy(images.index // images.chunks.rows)
        return replace(self, chunk=chunk, window=window(images.chunks.nbytes))

    def teaching_absence(self) -> TrainingSet:
        """The same images, with every keypoint without a label taught to be absent, but for those that
        `kptool.data.absence.left_out` finds."""
        labelled = self.labelled.cpu().numpy()
        absent = ~labelled & countable(labelled)
        return replace(self, absent=torch.from_numpy(absent).to(self.device))

    def turned_onto(self, shape: np.ndarray) -> TrainingSet:
        """The same images, with the maps that turn their objects onto `shape` (K, 2)."""
        maps = maps_onto(self.points.cpu().numpy(), self.labelled.cpu().numpy(), shape)
        return replace(self, upright=torch.from_numpy(maps).to(self.device))

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, index: Tensor) -> TrainingSet:
        """The samples at ascending `index` (n,); images that are in the cache stay there."""
        if isinstance(self.images, Tensor):
            return self._with(self.images[index.to(self.device)], index)
        stored = StoredImages(self.images.chunks, self.images.index[index.numpy()])
        return self._with(stored, index).stored_in(stored)

    def loaded(self, index: Tensor) -> TrainingSet:
        """The samples at ascending `index` (n,), with images in memory."""
        images = (
            self.images[index.to(self.device)] if isinstance(self.images, Tensor) else self.images.take(index.numpy())
        )
        return self._with(images, index)

    def take(self, index: Tensor) -> Batch:
        """The samples at `index` (n,), of images in memory, as a batch, not augmented."""
        assert isinstance(self.images, Tensor)
        return self._with(self.images[index.to(self.device)], index).batch

    def batches(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """The samples at each of the `parts` (n,), in any order, as batches, not augmented; stored images are read ahead."""
        if isinstance(self.images, Tensor):
            yield from map(self.take, parts)
            return
        for part, images in zip(parts, self.images.read_ahead([part.numpy() for part in parts]), strict=True):
            yield self._with(images, part).batch

    def _with(self, images: Tensor | np.ndarray | StoredImages, index: Tensor) -> TrainingSet:
        """The `images` of the samples at `index` (n,), with what is known of them."""
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(images if images.ndim == 4 else images[:, None]).to(
                self.device, non_blocking=True
            )
        index = index.to(self.device)
        linear, absent, upright = (
            None if each is None else each[index] for each in (self.linear, self.absent, self.upright)
        )
        return TrainingSet(images, self.points[index], self.labelled[index], linear, absent, upright)

    @property
    def batch(self) -> Batch:
        """All samples, with images in memory, as a batch."""
        assert isinstance(self.images, Tensor)
        return Batch(self.images.float(), self.points, self.labelled, self.absent, self.upright)


@dataclass(frozen=True)
class Pending:
    """A batch before its augmentation. draws: float32 (n, DRAWS), as `augment` takes them. seed: of the white noise. augment:
    what is to be done with (batch, draws, noise)."""

    batch: Batch
    draws: Tensor
    seed: int
    augment: Callable[..., Batch]

    def augmented(self, noise: torch.Generator) -> Batch:
        """The batch, augmented by a generator with the `seed`."""
        return self.augment(self.batch, self.draws, noise=noise)

    @property
    def parts(self) -> tuple[Tensor | None, ...]:
        """All tensors, of which `of` makes another."""
        return (*self.batch.parts, self.draws)

    def of(self, parts: Sequence[Tensor | None]) -> Pending:
        """The same with other tensors."""
        *batch, draws = parts
        assert draws is not None
        return replace(self, batch=self.batch.of(batch), draws=draws)


class Epochs:
    """Augmented batches of a `TrainingSet`, epoch by epoch.

    Each epoch visits every sample once in a new order, see `kptool.training.order`; a last batch that is not full is filled
    up with samples from the epoch's start, so that every step weighs the same. `steps` is the number of batches per epoch.
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
        self._swap = torch.tensor(swap_order(data.points.shape[1], pairs), device=data.device)
        self._augment: dict[Workers, Callable[..., Batch]] = {}

    def epoch(
        self, number: int, workers: Workers | None = None, offset: Tensor | None = None, first: int = 0
    ) -> Iterator[Batch]:
        """The batches that are `pending`, augmented."""
        for batch in self.pending(number, workers, offset, first):
            yield batch.augmented(torch.Generator(self.data.device).manual_seed(batch.seed))

    def pending(
        self, number: int, workers: Workers | None = None, offset: Tensor | None = None, first: int = 0
    ) -> Iterator[Pending]:
        """The batches of epoch `number` from step `first` on; of each, the share of `workers`' rank.

        `offset` (K, 2) is subtracted from the labels.
        """
        workers = workers or Workers()
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        order = self._order(generator)
        total = self.steps * self.batch_size
        order = order.repeat(math.ceil(total / len(order)))[:total]
        draws = draw(total, generator)
        shares = [
            slice(step * self.batch_size + workers.rank, (step + 1) * self.batch_size, workers.world)
            for step in range(first, self.steps)
        ]
        device = self.data.device
        draws = draws.to(device)  # once, as each copy waits for the device
        if isinstance(self.data.images, Tensor):
            order = order.to(device)
        batches = self.data.batches([order[share] for share in shares])
        work = self._augment.setdefault(workers, partial(augment, swap=self._swap, config=self.config, workers=workers))
        for step, (share, batch) in enumerate(zip(shares, batches, strict=True), first):
            if offset is not None:
                batch = replace(batch, points=batch.points - offset)
            yield Pending(batch, draws[share], self.seed * 1_000_003 + number * 65_537 + step, work)

    def _order(self, generator: torch.Generator) -> Tensor:
        """The samples in the order of an epoch, (N,)."""
        if self.data.chunk is None:
            return torch.randperm(len(self.data), generator=generator)
        return shuffled(self.data.chunk, self.data.window, generator)
