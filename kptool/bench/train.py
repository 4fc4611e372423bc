"""Training speed: the whole loop against the training step alone, and against a plain PyTorch loop.

The plain loop uses a Dataset that renders heatmaps in NumPy, a DataLoader, and the same arithmetic (bfloat16 or float32), without
augmentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from kptool import plugins
from kptool.base.config import configure
from kptool.bench.timing import Row, measure
from kptool.data.annotations import Dataset as Reader
from kptool.system import devices
from kptool.system.workers import Workers
from kptool.training.augmentation import Batch
from kptool.training.batches import Epochs, TrainingSet
from kptool.training.schedule import Schedule
from kptool.training.trainer import Trainer


class PlainFaces(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A dataset as in tutorials: images with heatmaps rendered in NumPy on access."""

    def __init__(self, images: NDArray[np.uint8], points: NDArray[np.float32], sigma: float) -> None:
        self.images, self.points, self.sigma = images, points, sigma
        self.y, self.x = np.mgrid[:48, :48].astype(np.float32)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        centres = (self.points[i] + 0.5) / 2 - 0.5
        maps = [np.exp(-((self.x - x) ** 2 + (self.y - y) ** 2) / (2 * self.sigma**2)) for x, y in centres]
        return torch.from_numpy(self.images[i][None]), torch.from_numpy(np.stack(maps))


def run(quick: bool = False) -> list[Row]:
    """Milliseconds per step of a batch of 32, with U-Net."""
    device = devices.pick("auto")
    synthetic: Reader = plugins.load("datasets", "synthetic")
    assert synthetic.open is not None
    source = synthetic.open(None, count=64 if quick else 256, seed=0)
    samples = list(source.blocks())
    images = np.concatenate([s.images for s in samples])
    points = np.concatenate([s.keypoints for s in samples])
    model, config = configure("unet", source.skeleton, (96, 96), 1, {})
    data = TrainingSet.upload(images, points, np.full(points.shape[:2], 2, np.uint8), device)
    epochs = Epochs(data, model.flip_pairs, config.augment, batch_size=config.batch_size, seed=0)
    trainer = Trainer(model, config, device, Workers())
    trainer.schedule = Schedule(10_000)
    endless = _endless(epochs)
    fixed = next(endless)
    plain = _plain_loop(PlainFaces(images, points, model.sigma), Trainer(model, config, device, Workers()))
    works: dict[str, Any] = {
        "loop": lambda: float(trainer.train_step(next(endless))),
        "fixed": lambda: float(trainer.train_step(fixed)),
        "plain": lambda: next(plain),
    }
    times = measure(works, seconds=1.0 if quick else 20.0)
    group = f"unet, batch {config.batch_size}, {device.type}"
    note = "both in bfloat16" if trainer.amp else "both in float32"
    return [
        Row.timed(group, "whole step", "same step, one fixed batch", times["loop"], times["fixed"], note),
        Row.timed(group, "whole step", "DataLoader, NumPy heatmaps", times["loop"], times["plain"], note),
    ]


def _endless(epochs: Epochs) -> Iterator[Batch]:
    """Batches of one epoch after another."""
    number = 0
    while True:
        yield from epochs.epoch(number)
        number += 1


def _plain_loop(faces: PlainFaces, trainer: Trainer) -> Iterator[None]:
    """A plain training loop as a generator that yields after every step."""
    network = trainer.model
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader = DataLoader(faces, batch_size=trainer.config.batch_size, shuffle=True, drop_last=True)
    while True:
        for pictures, maps in loader:
            optimizer.zero_grad()
            with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.amp):
                raw = network(pictures.to(trainer.device))
            loss = torch.nn.functional.mse_loss(raw.float(), maps.to(trainer.device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield
