"""Training speed: the whole loop against the training step alone, and against a plain PyTorch loop.

The plain loop uses a Dataset that renders heatmaps in NumPy, or gives coordinates to models that predict them, a DataLoader, the
same network and the same arithmetic (bfloat16 or float32), without augmentation.
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
from kptool.network.keypoint_model import KeypointModel
from kptool.system import devices
from kptool.system.workers import Workers
from kptool.training.augmentation import Batch
from kptool.training.batches import Epochs, TrainingSet
from kptool.training.schedule import Schedule
from kptool.training.trainer import Trainer


class PlainFaces(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A dataset as in tutorials: images with heatmaps rendered in NumPy on access, or with coordinates as shares of the image."""

    def __init__(self, images: NDArray[np.uint8], points: NDArray[np.float32], model: KeypointModel) -> None:
        self.images, self.points = images, points
        self.side, self.sigma = images.shape[-1], model.config.sigma
        self.maps = model.heatmap_size[0] if model.plugin.output == "heatmap" else 0
        self.y, self.x = np.mgrid[: self.maps, : self.maps].astype(np.float32)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = torch.from_numpy(self.images[i][None])
        if not self.maps:
            return image, torch.from_numpy(self.points[i] / self.side)
        centres = (self.points[i] + 0.5) * self.maps / self.side - 0.5
        maps = [np.exp(-((self.x - x) ** 2 + (self.y - y) ** 2) / (2 * self.sigma**2)) for x, y in centres]
        return image, torch.from_numpy(np.stack(maps))


MODELS = ("unet", "fcn", "resnet", "vgg")


def run(quick: bool = False) -> list[Row]:
    """Milliseconds per step, each model with its recipe's batch."""
    device = devices.pick("auto")
    synthetic: Reader = plugins.load("datasets", "synthetic")
    assert synthetic.open is not None
    source = synthetic.open(None, count=64 if quick else 256, seed=0)
    samples = list(source.blocks())
    images = np.concatenate([s.images for s in samples])
    points = np.concatenate([s.keypoints for s in samples])
    data = TrainingSet.upload(images, points, np.full(points.shape[:2], 2, np.uint8), device)
    rows: list[Row] = []
    for name in MODELS[:1] if quick else MODELS:
        model, config = configure(name, source.skeleton, (96, 96), 1, {})
        epochs = Epochs(data, model.flip_pairs, config.augment, batch_size=config.batch_size, seed=0)
        trainer = Trainer(model, config, device, Workers())
        rows += _measured(name, epochs, trainer, PlainFaces(images, points, trainer.model))
    return rows


def _measured(name: str, epochs: Epochs, trainer: Trainer, faces: PlainFaces) -> list[Row]:
    model, config, device = trainer.model.config, trainer.config, trainer.device
    trainer.schedule = Schedule(10_000)
    endless = _endless(epochs)
    fixed = next(endless)
    plain = _plain_loop(faces, Trainer(model, config, device, Workers()))
    works: dict[str, Any] = {
        "loop": lambda: float(trainer.train_step(next(endless))),
        "fixed": lambda: float(trainer.train_step(fixed)),
        "plain": lambda: next(plain),
    }
    times = measure(works, seconds=1.0 if len(faces) < 256 else 8.0)
    group = f"{name}, batch {config.batch_size}, {device.type}"
    note = "both in bfloat16" if trainer.amp else "both in float32"
    return [
        Row.timed(group, "whole step", "same step, one fixed batch", times["loop"], times["fixed"], note),
        Row.timed(group, "whole step", "plain loop, same network", times["loop"], times["plain"], note),
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
            loss = torch.nn.functional.mse_loss(raw.float().reshape(maps.shape), maps.to(trainer.device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield
