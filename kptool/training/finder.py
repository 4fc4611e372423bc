"""Trains a finder on the whole pictures of a cache: a fixed number of steps, with AdamW, a cosine and averaged weights.

The loss of the centre map is the quality focal loss (Li et al., NeurIPS 2020), which has its minimum at the soft target and
weighs the many cells far from any centre down; that of the sizes is L1 of their logarithms, near the centres.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kptool.base.config import AugmentConfig, TrainConfig
from kptool.cache.scenes import SceneSet
from kptool.evaluation.detection import Detections, best_threshold, match
from kptool.network.finder import Finder, raw_sizes
from kptool.network.finder_config import STRIDE, FinderConfig
from kptool.network.layers import vector
from kptool.system.progress import Progress, silent
from kptool.system.signals import Deferred
from kptool.training.augmentation import Batch, augment, draw
from kptool.training.optimizer import adamw, average_decay, learning_rate, set_rate, update_average
from kptool.training.paste import Boxed, paste

STEPS, BATCH = 1200, 8
_SCENE_BYTES = 2 << 30
"""Memory for whole pictures."""
LEAST_STEPS = 100
"""Fewest steps where the time is limited."""
_RATE, _TIMED = 2e-3, 4
_AUGMENT = AugmentConfig(scale=0.35, shift=0.15, stretch=0.1, elastic=0.0, erase=0.2)
"""Pictures differ more than crops do: instances are at any place, and larger or smaller."""
_WIDTH, _NARROWEST, _WIDEST = 0.08, 0.8, 4.0
"""Standard deviation of a centre's Gaussian: a share of the size of the box, within limits in cells."""
_NEAR, _FOCUS, _OF_SIZES = 0.4, 2.0, 1.0
"""Height of the target from which sizes are learnt; exponent of the focal loss; weight of the sizes' loss."""
_POINTS = 3
"""Points that carry a box through the augmentation: its centre, and the middles of its right and bottom edges."""


@dataclass(frozen=True)
class _Scenes:
    """Pictures on a device: images uint8 (S, C, H, W); boxes (S, M, 4), the last slot free; there, teaches: bool (S, M)."""

    images: Tensor
    boxes: Tensor
    there: Tensor
    teaches: Tensor

    @classmethod
    def upload(cls, scenes: SceneSet, device: torch.device) -> _Scenes:
        most = 1 + (int(np.bincount(scenes.scene).max()) if len(scenes.scene) else 0)
        count = len(scenes)
        boxes, there = np.zeros((count, most, 4), np.float32), np.zeros((count, most), bool)
        teaches = np.zeros((count, most), bool)
        slot = np.arange(len(scenes.scene)) - np.searchsorted(scenes.scene, scenes.scene)
        boxes[scenes.scene, slot], there[scenes.scene, slot] = scenes.boxes, True
        teaches[scenes.scene, slot] = scenes.teaches
        pixels = scenes.images if scenes.images.ndim == 4 else scenes.images[:, None]
        return cls(
            *(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in (pixels, boxes, there, teaches))
        )

    def batch(self, index: Tensor) -> Boxed:
        """The pictures at `index` (n,)."""
        index = index.to(self.images.device)
        return Boxed(self.images[index].float(), self.boxes[index], self.there[index], self.teaches[index])


def carried(boxes: Tensor) -> Tensor:
    """The points (n, 3 M, 2) that carry boxes (n, M, 4) through the augmentation, see `_POINTS`."""
    half = boxes[..., 2:] / 2
    centre = boxes[..., :2] + half
    along = [centre, centre + half * vector(half, 1, 0), centre + half * vector(half, 0, 1)]
    return torch.stack(along, 2).flatten(1, 2)


@dataclass(frozen=True)
class Targets:
    """heat: (n, h, w), the Gaussians of the centres. raw: (n, 2, h, w), the sizes to predict, of the nearest instance. weight:
    (n, h, w), 0 where there may be anything. count: the number of instances."""

    heat: Tensor
    raw: Tensor
    weight: Tensor
    count: Tensor


def targets(points: Tensor, there: Tensor, teaches: Tensor, shape: tuple[int, int]) -> Targets:
    """The targets of maps of `shape` (h, w), for the points (n, 3 M, 2), in pixels, of boxes that are `there` (n, M).

    The box of a rotated instance is that of the ellipse which the box contains.
    """
    centre, right, bottom = points.view(len(points), -1, _POINTS, 2).unbind(2)
    half = ((right - centre).square() + (bottom - centre).square()).sqrt().clamp_min(1e-3)
    height, width = shape
    x = (torch.arange(width, device=points.device) + 0.5) * STRIDE - 0.5
    y = (torch.arange(height, device=points.device) + 0.5) * STRIDE - 0.5
    inside = ((centre > -0.5) & (centre < vector(points, width, height) * STRIDE - 0.5)).all(-1)
    known = there & teaches & inside
    sigma = (2 * half).prod(-1).sqrt() * _WIDTH
    sigma = sigma.clamp(_NARROWEST * STRIDE, _WIDEST * STRIDE)
    apart = (x - centre[..., 0, None]).square()[:, :, None] + (y - centre[..., 1, None]).square()[..., None]
    each = torch.exp(-apart / (2 * sigma.square())[..., None, None]) * known[..., None, None]
    heat, nearest = each.max(1)
    sizes = raw_sizes(2 * half)
    raw = torch.stack([sizes[..., axis].gather(1, nearest.flatten(1)).view_as(heat) for axis in (0, 1)], 1)
    across = (x - centre[..., 0, None]).abs() <= half[..., 0, None]
    down = (y - centre[..., 1, None]).abs() <= half[..., 1, None]
    open_ = (across[:, :, None] & down[..., None] & (there & ~known)[..., None, None]).any(1)
    return Targets(heat, raw, (~open_ | (heat > _NEAR)).float(), known.sum())


def loss(maps: Tensor, target: Targets) -> Tensor:
    """The loss of the raw maps (n, 3, h, w) of a finder."""
    logits, heat = maps[:, 0], target.heat
    entropy = F.binary_cross_entropy_with_logits(logits, heat, reduction="none")
    focal = ((logits.sigmoid() - heat).abs().pow(_FOCUS) * entropy * target.weight).sum()
    near = (heat * (heat > _NEAR))[:, None]
    sizes = ((maps[:, 1:] - target.raw).abs() * near).sum() / near.sum().clamp_min(1)
    return focal / target.count.clamp_min(1) + _OF_SIZES * sizes


def train(
    scenes: SceneSet,
    held_out: SceneSet,
    config: TrainConfig,
    device: torch.device,
    *,
    steps: int | None = None,
    budget: float | None = None,
    stop: Deferred | None = None,
    progress: Progress = silent,
) -> tuple[Finder, FinderConfig]:
    """A finder trained on `scenes`, and its configuration with the threshold and metrics measured on `held_out`.

    config: the keypoint model's, of which the seed, the weight decay, the averaging and the rotation are used. budget:
    seconds; fewer steps are made where they do not fit. steps: by default `STEPS`. Raises Stopped after a signal.
    """
    steps = STEPS if steps is None else steps
    fit, begun = _Fit(scenes, config, device), time.perf_counter()
    for index in _order(len(scenes), config.seed):
        if stop is not None:
            stop.check()
        if fit.step == 10 and budget is not None:
            each = (time.perf_counter() - begun) / fit.step
            steps = min(steps, max(LEAST_STEPS, int(budget / each)))
        if fit.step >= steps:
            break
        fit.take_step(index, steps)
        progress("finder", fit.step, steps)
    return fit.average, _measured(fit.average, fit.settings, held_out, device, fit.step)


def most_scenes(scene_bytes: int) -> int:
    """How many whole pictures of so many bytes are read: those that the steps see, each once, or as many as fit."""
    return max(BATCH, min(STEPS * BATCH, _SCENE_BYTES // scene_bytes))


def seconds_per_step(scenes: SceneSet, config: TrainConfig, device: torch.device) -> float:
    """How long a step of `train` takes: the fastest of a few, the first aside."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        fit, times = _Fit(scenes, config, device), []
        for index in islice(_order(len(scenes), config.seed), _TIMED):
            started = time.perf_counter()
            float(fit.take_step(index, STEPS).detach())  # float() waits for the device
            times.append(time.perf_counter() - started)
    return min(times[1:])


class _Fit:
    """A finder that is trained on scenes, with its optimizer and the average of its weights."""

    def __init__(self, scenes: SceneSet, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        channels = 1 if scenes.images.ndim == 3 else scenes.images.shape[1]
        self.settings = FinderConfig(scenes.size, channels)
        self.finder = Finder(self.settings).to(device)
        self.average = copy.deepcopy(self.finder).eval()
        augment = replace(_AUGMENT, rotation=config.augment.rotation)
        self._recipe = replace(config, lr=_RATE, batch_size=BATCH, augment=augment)
        self._optimizer = adamw(self.finder, self._recipe, device)
        self._data, self.step = _Scenes.upload(scenes, device), 0

    def take_step(self, index: Tensor, steps: int) -> Tensor:
        """The loss of the pictures at `index`, after a step of `steps` that lowers it."""
        set_rate(self._optimizer, learning_rate(self.step, steps, self._recipe))
        value = _loss_of(self.finder, self._data, index, self._recipe, self.step)
        self._optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.finder.parameters(), self._recipe.clip)
        self._optimizer.step()
        self.step += 1
        update_average(self.average, self.finder, average_decay(self.step, self._recipe))
        return value


def _order(count: int, seed: int) -> Iterator[Tensor]:
    """Batches of indices without end: every picture once, in a new order each time."""
    epoch, waiting = 0, torch.empty(0, dtype=torch.long)
    while True:
        while len(waiting) < BATCH:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            waiting = torch.cat([waiting, torch.randperm(count, generator=generator)])
            epoch += 1
        yield waiting[:BATCH]
        waiting = waiting[BATCH:]


def _loss_of(finder: Finder, data: _Scenes, index: Tensor, recipe: TrainConfig, step: int) -> Tensor:
    """The loss of one batch, augmented by random numbers that follow from the seed and the step."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + 500_009 + step)
    device = data.images.device
    noise = torch.Generator(device).manual_seed(recipe.seed * 1_000_003 + step)
    draws = draw(len(index), generator).to(device)
    boxed = paste(data.batch(index), generator)
    points = carried(boxed.boxes)
    batch = Batch(boxed.images, points, boxed.there.repeat_interleave(_POINTS, 1))
    moved = augment(batch, draws, torch.arange(points.shape[1], device=points.device), recipe.augment, noise)
    maps = finder.train()(moved.images).float()
    there = batch.labelled[:, ::_POINTS]
    return loss(maps, targets(moved.points, there, boxed.teaches, (maps.shape[2], maps.shape[3])))


def _measured(
    finder: Finder, settings: FinderConfig, scenes: SceneSet, device: torch.device, steps: int
) -> FinderConfig:
    """The settings with the threshold that is best on held-out pictures, and recall and precision with it."""
    if not scenes.teaches.any():
        return replace(settings, metrics={"steps": steps})
    pixels = scenes.images if scenes.images.ndim == 4 else scenes.images[:, None]
    found = [
        finder.find(part.to(device)) for part in torch.split(torch.from_numpy(np.ascontiguousarray(pixels)), BATCH)
    ]
    boxes, scores = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    matched: list[Detections] = []
    for i in range(len(scenes)):
        mine = scenes.scene == i
        kept = scores[i] > 0
        matched.append(match(boxes[i][kept], scores[i][kept], scenes.boxes[mine], scenes.teaches[mine]))
    threshold, metrics = best_threshold(matched)
    measured: dict[str, Any] = {"steps": steps, "pictures": len(scenes), **metrics}
    return replace(settings, threshold=threshold, metrics=measured)
