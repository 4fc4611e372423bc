"""Which model to train on a cache, and how, with a reason for every value.

What is known was measured on 1928 faces of 96x96 pixels with 15 keypoints, in batches of 16: the recipes of
`kptool.base.config`. Everything here carries that over to other data and machines: steps in keeping with the number of
images, a sigma that grows with the image and stays below the distance of neighbouring keypoints, a batch that fits the
memory. What a step takes, in bytes and seconds, is measured: see `kptool.advise.probe`.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
import torch

from kptool.advise.probe import Probe
from kptool.base.config import RECIPES, TrainConfig, require
from kptool.base.errors import ConfigError
from kptool.base.geometry import Size
from kptool.base.skeleton import Skeleton
from kptool.cache.store import Cache
from kptool.data.notes import never_labelled

FACES, BATCH = 1928, 16
SPACING = 8.5
"""Pixels from one of those faces' keypoints to the nearest other one, in the median."""
CHOICES = (("unet", 1), ("unet", 2), ("resnet", 1), ("resnet", 2))
"""Models, and what their own width is divided by: from the most accurate to the one that needs the least memory."""
_GPU_BATCH, _LEAST_BATCH, _LARGE_SIDE, _SAMPLE = 64, 8, 256, 256
_LEAST_EPOCHS, _MOST_EPOCHS, _FEW_VAL = 10, 400, 50


@dataclass(frozen=True)
class Setting:
    """A proposed value, and the reason for it in one line."""

    value: str | int | float
    why: str


@dataclass(frozen=True)
class Recipe:
    """A model and the settings to train it with, by name; the size of images to train on (a new extraction, where it
    differs from the cache's); how long training takes here, in seconds (None: unknown); and what else to do."""

    model: Setting
    size: Setting
    settings: dict[str, Setting]
    seconds: float | None
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What a cache holds: images to train on and to validate with, keypoints, image size and channels, the share of
    keypoints that have no label, pixels from a keypoint to the nearest other one (median; None without another), and
    how many groups the training images are (0 where none were given). Keypoints that nobody labelled are no part of
    that share: `never` says which."""

    images: int
    val: int
    skeleton: Skeleton
    size: Size
    channels: int
    unlabelled: float
    spacing: float | None
    groups: int
    never: str | None = None

    @classmethod
    def of(cls, cache: Cache) -> Facts:
        """Raises ConfigError where there is no image to train on."""
        train, info = cache.index("train"), cache.info
        if not len(train):
            raise ConfigError(f"{cache.path} has no image in its train split; extract again with a smaller --val")
        labelled, groups = cache.read("visibility", train) > 0, cache.read("group", train)
        require(bool(labelled.any()), f"{cache.path}: no training image has a labelled keypoint; label some")
        some = np.unique(np.linspace(0, len(train) - 1, _SAMPLE).astype(np.int64))
        return cls(
            images=len(train),
            val=len(cache.index("val")),
            skeleton=info.skeleton,
            size=info.size,
            channels=info.channels,
            unlabelled=1 - float(labelled[:, labelled.any(0)].mean()),
            spacing=spacing(cache.read("keypoints", train[some]), labelled[some]),
            groups=len(np.unique(groups[groups >= 0])),
            never=never_labelled(info.names, labelled.sum(0), len(train), "training images"),
        )


def spacing(points: np.ndarray, labelled: np.ndarray) -> float | None:
    """The median distance from a labelled keypoint of (N, K, 2) to the nearest other one of its image, if there is one."""
    nearest = [np.empty(0)]
    for known, where in zip(labelled, points, strict=True):
        if known.sum() > 1:
            z = where[known] @ np.array([1, 1j])
            apart = np.abs(z[:, None] - z)
            np.fill_diagonal(apart, np.inf)
            nearest.append(apart.min(1))
    every = np.concatenate(nearest)
    return float(np.median(every)) if len(every) else None


def recommend(cache: Cache, device: torch.device) -> Recipe:
    """A recipe for the training images of `cache` on `device`. Takes seconds: it measures steps of the model."""
    facts = Facts.of(cache)
    memory = memory_of(device) - facts.images * facts.channels * math.prod(facts.size)  # the images lie on the device
    model, probe, batch = choose(facts, device, memory)
    images = int(batch.value)
    settings = {
        "width": Setting(probe.width, "half the model's own, to fit the memory" if probe.narrow else "the model's own"),
        **({"sigma": sigma(facts, probe.model.stride)} if probe.model.output == "heatmap" else {}),
        "batch_size": batch,
        "lr": learning_rate(images),
        "epochs": epochs(facts, probe.name, images),
    }
    step = probe.seconds(images)
    seconds = None if step is None else training_seconds(facts, step, images, int(settings["epochs"].value))
    return Recipe(model, size(facts), settings, seconds, advice(facts, probe, memory))


def memory_of(device: torch.device) -> float:
    """Bytes that training may take: 80 % of what a GPU has free, half of what the machine has."""
    if device.type == "cuda":
        return 0.8 * torch.cuda.mem_get_info(device)[0]
    return 0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def choose(facts: Facts, device: torch.device, memory: float) -> tuple[Setting, Probe, Setting]:
    """The first model of `CHOICES` of which a reasonable batch fits into `memory` bytes, its probe, and its batch size."""
    wanted, few = _GPU_BATCH if device.type == "cuda" else BATCH, max(2, facts.images // 4)
    for name, divisor in CHOICES:
        probe = Probe(name, divisor, facts.skeleton, facts.size, facts.channels, device)
        fit = probe.fit(memory)
        if fit >= min(few, _LEAST_BATCH):
            break
    batch = 2 ** int(math.log2(max(2, min(wanted, few, fit))))
    if fit < min(wanted, few):
        why = (
            f"a step with more does not fit: an image takes {probe.image_bytes / 1e6:,.0f} MB of {memory / 1e9:.1f} GB"
        )
    elif few < wanted:
        why = f"{facts.images} images are few, and an epoch should have four steps or more"
    elif device.type == "cuda":
        why = f"the {BATCH} of the measured recipes would leave a GPU idle"
    else:
        why = "as the recipes were measured, on a CPU"
    return Setting(name, _model_reason(name, divisor)), probe, Setting(batch, why)


def _model_reason(name: str, divisor: int) -> str:
    if name == "unet":
        best = "the most accurate of the four on faces (RMSE 1.31 px; fcn 1.32, vgg and resnet 1.40 in twice the time)"
        return best if divisor == 1 else f"{best}, narrowed to fit the memory"
    return "it predicts coordinates: heatmaps of this size and number do not fit the memory"


def sigma(facts: Facts, stride: int) -> Setting:
    """A 32nd of the heatmap's side, as for faces, and at most half the way to the nearest keypoint, in heatmap pixels."""
    side = math.sqrt(math.prod(facts.size)) / stride
    wide, least, most = side / 32, 1.0, 8.0
    apart = math.inf if facts.spacing is None else facts.spacing / stride
    value = round(max(least, min(wide, apart / 2, most)), 2)
    if value == most:
        return Setting(value, f"heatmap pixels: as wide as helps to find a maximum, for heatmaps of {side:.0f} pixels")
    if least <= wide <= apart / 2:
        return Setting(value, f"heatmap pixels: a 32nd of the heatmap's side of {side:.0f}, as for faces")
    if value == least:
        return Setting(
            value, f"heatmap pixels: as narrow as sub-pixel decoding goes, for heatmaps of {side:.0f} pixels"
        )
    return Setting(
        value, f"heatmap pixels: half the {apart:.1f} from a keypoint to its neighbour; wider ones would merge"
    )


def learning_rate(batch: int) -> Setting:
    """AdamW's, by the square root of the batch size."""
    base = TrainConfig().lr
    if batch == BATCH:
        return Setting(base, f"as the recipes were measured, in batches of {BATCH}")
    value = float(f"{base * math.sqrt(batch / BATCH):.2g}")
    return Setting(value, f"{base:g} was measured for batches of {BATCH}; it goes with the square root of their size")


def epochs(facts: Facts, name: str, batch: int) -> Setting:
    """As many as make the number of steps go with the square root of the labels over the batch size.

    Of 190 faces, 30 epochs made a U-Net of RMSE 1.82 px on other people, and 90 one of 1.65 px, whose best epoch was the
    62nd while the training loss still fell: three times the epochs for a tenth of the images, and not ten times.
    """
    measured = int(RECIPES[name]["epochs"])
    whole = max(1.0, facts.images * (1 - facts.unlabelled))
    value = round(measured * math.sqrt(FACES / whole * batch / BATCH))
    what = f"{facts.images:,} images" + (
        f" with {facts.unlabelled:.0%} of the labels missing" if facts.unlabelled else ""
    )
    why = f"{measured} were measured for {FACES:,} faces in batches of {BATCH}; for {what} and batches of {batch},"
    if not _LEAST_EPOCHS <= value <= _MOST_EPOCHS:
        value = min(max(value, _LEAST_EPOCHS), _MOST_EPOCHS)
        return Setting(value, f"{why} the {'least' if value == _LEAST_EPOCHS else 'most'} that is worth it")
    steps = value * math.ceil(facts.images / batch)
    return Setting(value, f"{why} {steps:,} steps: their number goes with the square root of labels over batch size")


def size(facts: Facts) -> Setting:
    """The size of images to train on, width x height: smaller than the cache's where keypoints stay apart as in faces."""
    height, width = facts.size
    longest = max(height, width)
    if longest <= _LARGE_SIDE:
        return Setting(
            f"{width}x{height}", "as the cache has it; recipes were measured at 96x96, and points are sub-pixel"
        )
    factor = min(1.0, max(_LARGE_SIDE / longest, SPACING / facts.spacing if facts.spacing else 0))
    if factor > 0.8:
        return Setting(f"{width}x{height}", "as the cache has it; keypoints are too close together for smaller images")
    small = [max(8, 8 * round(side * factor / 8)) for side in facts.size]
    work = height * width / math.prod(small)
    return Setting(
        f"{small[1]}x{small[0]}",
        f"the cache's {width}x{height} costs {work:.1f} times as much; extract again with --size {small[0]},{small[1]}",
    )


def training_seconds(facts: Facts, step: float, batch: int, epochs: int) -> float:
    """All steps, and after each epoch the validation images, of which one costs a third of a training image."""
    return epochs * step * (math.ceil(facts.images / batch) + facts.val / batch / 3)


def advice(facts: Facts, probe: Probe, memory: float) -> tuple[str, ...]:
    """What no setting of a training can mend."""
    found = []
    if probe.fit(memory) < 2:
        found.append("two images of this size may not fit the memory; extract smaller ones with --size")
    if facts.never is not None:
        found.append(f"{facts.never}: label some, or take it out of the keypoints, since it cannot be learnt")
    if not facts.groups:
        found.append("no groups are known: if several images show the same person or thing, extract with --groups")
    if facts.val < _FEW_VAL:
        found.append(f"{facts.val} validation images cannot tell models apart; --cv 5 measures every image once")
    return tuple(found)
