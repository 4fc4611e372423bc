"""Measures the memory and time of a training step on this machine.

The step is the trainer's own, with augmentation, on random images, since content affects neither. Images with sides above
128 pixels are measured at 128 and scaled by area, as the cost of convolutions is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from kptool.base.config import configure
from kptool.base.geometry import Size
from kptool.base.skeleton import Skeleton
from kptool.network.keypoint_model import build_network
from kptool.plugins import load_model
from kptool.system.workers import Workers
from kptool.training.augmentation import Batch
from kptool.training.batches import Epochs, TrainingSet
from kptool.training.schedule import Schedule
from kptool.training.trainer import Trainer

_SIDE, _LIMIT, _STEPS = 128, 10.0, 20
_ENOUGH, _LEAST_STEPS = 3.0, 3
"""Seconds of steps that are enough, and steps that are measured in any case, after the first."""
_BUSY = 0.75
"""Share of its threads' time in which a program that has the processors to itself computes, at least."""
_PEAK = 3
"""A step's peak memory relative to the saved activations: 2.3 to 2.7 for four models at 96 to 512 pixels."""
_PER_PARAMETER = 20
"""Bytes per parameter: weight, average, gradient and AdamW's two moments, 4 each."""


class Probe:
    """A model as it would be trained on a data set, with its default width divided by `divisor`, ready to be measured."""

    def __init__(
        self, name: str, divisor: int, skeleton: Skeleton, size: Size, channels: int, device: torch.device
    ) -> None:
        self.name, self.model = name, load_model(name)
        self.width, self.narrow = max(1, self.model.default_width // divisor), divisor > 1
        self._area = math.prod(size) / math.prod(min(side, _SIDE) for side in size)
        small = (min(size[0], _SIDE), min(size[1], _SIDE))
        whole, _ = configure(name, skeleton, size, channels, {"width": self.width})
        config, training = configure(name, skeleton, small, channels, {"width": self.width, "stem": whole.stem})
        self.stem, self.stride = whole.stem, self.model.stride * 2**whole.stem
        self._trainer = Trainer(config, training, device, Workers())
        self._trainer.schedule = Schedule(_STEPS)
        with torch.device("meta"):  # the parameters at full size, without allocating them
            network = build_network(whole, self.model, len(skeleton), channels)
        self._fixed = _PER_PARAMETER * sum(p.numel() for p in network.parameters())
        self.image_bytes = _PEAK * self._area * self._saved_bytes()
        """bytes of a step per image of its batch"""
        self.busy = False
        """whether other programs took processors from the steps that were measured last"""

    def fit(self, memory: float) -> int:
        """The largest batch that fits into `memory` bytes; 0 where the parameters alone do not fit."""
        return max(0, int((memory - self._fixed) / self.image_bytes))

    def seconds(self, batch: int) -> float | None:
        """Seconds of a step with `batch` images; None where measuring takes more than about ten seconds.

        Also finds out whether other programs keep the processors `busy`.
        """
        times: list[float] = []
        computed = 0.0
        for part in islice(self._batches(batch), _STEPS):
            started, before = time.perf_counter(), time.process_time()
            float(self._trainer.train_step(part))  # float() waits for the device
            times.append(time.perf_counter() - started)
            computed += (time.process_time() - before) if len(times) > 1 else 0.0
            measured = sum(times[1:])
            if measured + times[0] > _LIMIT or (measured > _ENOUGH and len(times) > _LEAST_STEPS):
                break
        if len(times) < 2:
            return None
        on_cpu = self._trainer.device.type == "cpu"
        self.busy = on_cpu and computed < _BUSY * torch.get_num_threads() * measured
        # the first warms up; the fastest of the others is disturbed the least by what else the machine does
        return min(times[1:]) * self._area

    def _saved_bytes(self) -> float:
        """Bytes of activations saved for the backward pass, per image."""
        saved: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        batch = next(self._batches(2))
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = self._trainer.loss(batch)
        for parameter in self._trainer.model.parameters():
            saved.pop(parameter.untyped_storage().data_ptr(), None)
        del loss  # it kept the tensors alive, so that addresses were unique
        return sum(saved.values()) / len(batch.images)

    def _batches(self, count: int) -> Iterator[Batch]:
        """Endless augmented batches of `count` random images."""
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
