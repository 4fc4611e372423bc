"""What a step of training takes on this machine, in bytes and in seconds: measured, not looked up.

A step is the trainer's own, with augmentation, on random images, since content changes neither. Images above 128 pixels
a side are measured at 128 and scaled by area, as convolutions go.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from kptool.base.config import configure
from kptool.base.geometry import Size
from kptool.base.skeleton import Skeleton
from kptool.plugins import load_model
from kptool.system.workers import Workers
from kptool.train.augmentation import Batch
from kptool.train.batches import Epochs, TrainingSet
from kptool.train.trainer import Trainer

_SIDE, _LIMIT, _STEPS = 128, 10.0, 4
_PEAK = 3
"""A step's memory over what it keeps for the gradients: 2.3 to 2.7 was measured, for four models at 96 to 512 pixels."""
_PER_PARAMETER = 20
"""Bytes: the weight, its average, its gradient and AdamW's two moments, 4 each."""


class Probe:
    """A model as it would be trained on a data set, its own width divided by `divisor`, ready to be measured."""

    def __init__(
        self, name: str, divisor: int, skeleton: Skeleton, size: Size, channels: int, device: torch.device
    ) -> None:
        self.name, self.model = name, load_model(name)
        self.width, self.narrow = max(1, self.model.default_width // divisor), divisor > 1
        self._area = math.prod(size) / math.prod(min(side, _SIDE) for side in size)
        small = (min(size[0], _SIDE), min(size[1], _SIDE))
        config, training = configure(name, skeleton, small, channels, {"width": self.width})
        self._trainer = Trainer(config, training, device, Workers())
        with torch.device("meta"):  # the parameters of the whole size, without the memory for them
            network = self.model.build(len(skeleton), size, channels, self.width)
        self._fixed = _PER_PARAMETER * sum(p.numel() for p in network.parameters())
        self.image_bytes = _PEAK * self._area * self._kept()
        """bytes that a step takes for each image of its batch"""

    def fit(self, memory: float) -> int:
        """How many images a batch may have in `memory` bytes; 0 where even the parameters do not fit."""
        return max(0, int((memory - self._fixed) / self.image_bytes))

    def seconds(self, batch: int) -> float | None:
        """A step with `batch` images; None where measuring it would take more than some ten seconds."""
        times: list[float] = []
        for part in islice(self._batches(batch), _STEPS):
            started = time.perf_counter()
            float(self._trainer.train_step(part, _STEPS))  # waits for the device
            times.append(time.perf_counter() - started)
            if sum(times) > _LIMIT:
                break
        return statistics.median(times[1:]) * self._area if len(times) > 1 else None  # the first one warms up

    def _kept(self) -> float:
        """Bytes that the network keeps for the gradients, for each image."""
        kept: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        batch = next(self._batches(2))
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = self._trainer.loss(batch)
        for parameter in self._trainer.model.parameters():
            kept.pop(parameter.untyped_storage().data_ptr(), None)
        del loss  # until now it held the tensors, so that no two had the same address
        return sum(kept.values()) / len(batch.images)

    def _batches(self, count: int) -> Iterator[Batch]:
        """Augmented batches of random images, without end."""
        config, training = self._trainer.model.config, self._trainer.config
        k, (height, width) = len(config.names), config.size
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (count, config.channels, height, width), dtype=np.uint8)
        points = rng.uniform(0, [width - 1, height - 1], (count, k, 2)).astype(np.float32)
        data = TrainingSet.upload(images, points, np.full((count, k), 2, np.uint8), self._trainer.device)
        epochs = Epochs(data, config.flip_pairs, training.augment, batch_size=count, seed=0)
        number = 0
        while True:
            yield from epochs.epoch(number)
            number += 1
