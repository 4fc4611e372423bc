"""Recommends a model and training settings for a cache, with a reason for every value.

The recipes of `kptool.base.config` were measured on 1928 faces of 96x96 pixels with 15 keypoints, in batches of 16. This
module scales them to other data and machines: the number of steps with the number of images, sigma with the image size
and the distance between keypoints, the batch size with the memory. `kptool.advise.probe` measures the memory and time of
a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from kptool import plugins
from kptool.advise import initial
from kptool.advise.facts import Facts
from kptool.advise.probe import Probe
from kptool.base.config import RECIPES, TrainConfig
from kptool.cache.store import Cache
from kptool.system import devices, memory

FACES, BATCH = 1928, 16
"""Training images and batch size with which the recipes were measured."""
SPACING = 8.5
"""Median distance, in pixels, from a keypoint of those faces to its nearest neighbour."""
CHOICES = (("unet", 1), ("unet", 2), ("resnet", 1), ("resnet", 2))
"""Models, and divisors of their default widths: from the most accurate to the one that needs the least memory."""
_GPU_BATCH, _LEAST_BATCH, _LARGE_SIDE = 64, 8, 384
_UPRIGHT = 30.0
"""Degrees up to which the default rotation will do."""
_FEW_IMAGES, _LONGER = 500, 2
"""Training images below which batches are small, and how much longer objects at any angle are trained: not compared yet."""
_SMALL, _SMALL_FROM = 0.5, 128
"""The share of a training with images of half the size, and the longer side in pixels from which on images have it: bees of
128 pixels kept apart improved from PCK@0.1 62.5 to 74.4 % with the same work, see docs/measured.md."""
_UNKNOWN = 8e9
"""Bytes that training may use where nothing tells how many there are."""
_BUSY = "other programs use this machine's processors too; without them, training takes less time than that"
_LEAST_EPOCHS, _MOST_EPOCHS, _FEW_VAL, _SOME_ABSENT = 10, 400, 50, 0.01


@dataclass(frozen=True)
class Setting:
    """A recommended value, and the reason in one line."""

    value: str | int | float
    why: str


@dataclass(frozen=True)
class Recipe:
    """A recommendation. model and settings by name; size: of the training images, which takes a new extraction where it
    differs from the cache's; seconds: the estimated training time on this machine, None where unknown; advice: what
    settings cannot fix."""

    model: Setting
    size: Setting
    settings: dict[str, Setting]
    seconds: float | None
    advice: tuple[str, ...]


def recommend(cache: Cache, device: torch.device) -> Recipe:
    """A recipe for `cache` on `device`. Takes seconds, since it measures training steps."""
    facts = Facts.of(cache)
    room = memory_of(device)
    room -= min(room / 2, facts.images * facts.channels * math.prod(facts.size))  # more images stay in the cache
    model, probe, batch = choose(facts, device, room)
    images = int(batch.value)
    settings = {
        "width": Setting(
            probe.width, "half the model's default, to fit the memory" if probe.narrow else "the model's default"
        ),
        **stem(facts, probe),
        **({"sigma": sigma(facts, probe.stride)} if probe.model.output == "heatmap" else {}),
        "batch_size": batch,
        "lr": learning_rate(images),
        **small(facts, probe.name),
        "epochs": epochs(facts, probe.name, images),
        **rotation(facts),
    }
    step = probe.seconds(images)
    seconds = None
    if step is not None:
        seconds = training_seconds(facts, step * _work(facts, probe.name), images, int(settings["epochs"].value))
    notes = (_BUSY,) if probe.busy and seconds is not None else ()
    return Recipe(model, size(facts), settings, seconds, (*notes, *advice(facts, probe, room)))


def memory_of(device: torch.device) -> float:
    """Bytes that training may use: 80 % of a GPU's free memory, half of the machine's on the CPU."""
    free = devices.free_memory(device)
    if free is not None:
        return 0.8 * free
    here = memory.available()
    return _UNKNOWN if here is None else 0.5 * here


def choose(facts: Facts, device: torch.device, room: float) -> tuple[Setting, Probe, Setting]:
    """The first model of `CHOICES` for which a reasonable batch fits into `room` bytes, its probe, and the batch size."""
    usual = BATCH if facts.images >= _FEW_IMAGES else _LEAST_BATCH
    wanted, few = _GPU_BATCH if device.type == "cuda" else usual, max(2, facts.images // 4)
    for name, divisor in CHOICES:
        probe = Probe(name, divisor, facts.skeleton, facts.size, facts.channels, device)
        fit = probe.fit(room)
        if fit >= min(few, _LEAST_BATCH):
            break
    batch = 2 ** int(math.log2(max(2, min(wanted, few, fit))))
    if fit < min(wanted, few):
        why = f"a larger batch does not fit: an image takes {probe.image_bytes / 1e6:,.0f} MB of {room / 1e9:.1f} GB"
    elif few < wanted:
        why = f"with only {facts.images} images, so that an epoch has at least four steps"
    elif device.type == "cuda":
        why = f"the recipes' {BATCH} would leave a GPU underused"
    elif wanted < BATCH:
        why = f"with only {facts.images} images, so that as much work makes twice as many steps as the recipes' {BATCH}"
    else:
        why = "as in the measured recipes, on a CPU"
    return Setting(name, _model_reason(name, divisor)), probe, Setting(batch, why)


def _model_reason(name: str, divisor: int) -> str:
    if name == "unet":
        best = "the most accurate of the four on faces (RMSE 1.31 px; fcn 1.32, vgg and resnet 1.40 in twice the time)"
        return best if divisor == 1 else f"{best}, narrowed to fit the memory"
    return "it predicts coordinates, since heatmaps of this size and number do not fit the memory"


def sigma(facts: Facts, stride: int) -> Setting:
    """Sigma in heatmap pixels: 1/32 of the heatmap's side, as for faces, and at most half the distance between keypoints."""
    side = math.sqrt(math.prod(facts.size)) / stride
    wide, least, most = side / 32, 1.0, 8.0
    apart = math.inf if facts.spacing is None else facts.spacing / stride
    value = round(max(least, min(wide, apart / 2, most)), 2)
    if value == most:
        return Setting(value, f"heatmap pixels: a wider peak would not help, for heatmaps of {side:.0f} pixels")
    if least <= wide <= apart / 2:
        return Setting(value, f"heatmap pixels: 1/32 of the heatmap's side of {side:.0f}, as for faces")
    if value == least:
        return Setting(
            value, f"heatmap pixels: the narrowest for sub-pixel decoding, for heatmaps of {side:.0f} pixels"
        )
    return Setting(
        value, f"heatmap pixels: half the {apart:.1f} between neighbouring keypoints; wider peaks would merge"
    )


def learning_rate(batch: int) -> Setting:
    """AdamW's learning rate, scaled by the square root of the batch size."""
    base = TrainConfig().lr
    if batch == BATCH:
        return Setting(base, f"as in the measured recipes, with batches of {BATCH}")
    value = float(f"{base * math.sqrt(batch / BATCH):.2g}")
    return Setting(
        value, f"{base:g} was measured for batches of {BATCH}; it scales with the square root of the batch size"
    )


def epochs(facts: Facts, name: str, batch: int) -> Setting:
    """Epochs with which the number of steps scales with the square root of labels over batch size.

    With 190 faces, a U-Net reached an RMSE of 1.82 px on other people after 30 epochs and 1.65 px after 90, at its best in
    epoch 62 of these while the training loss still fell: a tenth of the images take three times the epochs, not ten times.
    """
    measured = int(RECIPES[name]["epochs"])
    whole = max(1.0, facts.images * (1 - facts.unlabelled))
    turned, cheaper = bool(rotation(facts)), _work(facts, name)
    value = round(measured * math.sqrt(FACES / whole * batch / BATCH) * (_LONGER if turned else 1) / cheaper)
    what = f"{facts.images:,} images" + (
        f" with {facts.unlabelled:.0%} of the labels missing" if facts.unlabelled else ""
    )
    angles = " of objects at any angle, given twice as many epochs," if turned else ""
    angles += f" with small images at first, {cheaper:.0%} of the work," if cheaper < 1 else ""
    why = f"{measured} were measured for {FACES:,} faces in batches of {BATCH}; for {what}{angles} and batches of {batch},"
    if not _LEAST_EPOCHS <= value <= _MOST_EPOCHS:
        value = min(max(value, _LEAST_EPOCHS), _MOST_EPOCHS)
        return Setting(value, f"{why} the {'fewest' if value == _LEAST_EPOCHS else 'most'} that are worthwhile")
    steps = value * math.ceil(facts.images / batch)
    return Setting(value, f"{why} {steps:,} steps: they scale with the square root of labels over batch size")


def small(facts: Facts, name: str) -> dict[str, Setting]:
    """The share of the training with images of half the size; nothing where images are small, or a model needs its size."""
    if max(facts.size) < _SMALL_FROM or plugins.load_model(name).output != "heatmap":
        return {}
    return {
        "small": Setting(_SMALL, "images begin at half their size, a quarter of the work, for 1.6 times the epochs")
    }


def _work(facts: Facts, name: str) -> float:
    """The work of a training that begins with small images, as a share of that with whole ones."""
    return 1 - 0.75 * _SMALL if small(facts, name) else 1.0


def rotation(facts: Facts) -> dict[str, Setting]:
    """The rotation of the augmentation where instances are seen at many angles; nothing where they are upright."""
    if facts.turned <= _UPRIGHT:
        return {}
    value = min(180.0, 10.0 * math.ceil(facts.turned / 10))
    return {
        "augment.rotation": Setting(
            value, f"degrees: one in twenty instances is turned by more than {facts.turned:.0f} from the usual angle"
        ),
        "augment.upright": Setting(0.5, "half of the images are turned upright, as in predict's second look"),
    }


def size(facts: Facts) -> Setting:
    """The image size, width x height: smaller than a large cache's where keypoints stay as far apart as in faces."""
    height, width = facts.size
    longest = max(height, width)
    if longest <= _LARGE_SIDE:
        return Setting(
            f"{width}x{height}", "as in the cache; recipes were measured at 96x96, and decoding is sub-pixel"
        )
    factor = min(1.0, max(_LARGE_SIDE / longest, SPACING / facts.spacing if facts.spacing else 0))
    if factor > 0.8:
        return Setting(f"{width}x{height}", "as in the cache; keypoints are too close together for smaller images")
    small = [max(8, 8 * round(side * factor / 8)) for side in facts.size]
    work = height * width / math.prod(small)
    return Setting(
        f"{small[1]}x{small[0]}",
        f"the cache's {width}x{height} costs {work:.1f} times as much; extract again with --size {small[0]},{small[1]}",
    )


def stem(facts: Facts, probe: Probe) -> dict[str, Setting]:
    """The halvings before the network where images are large; nothing where they are small."""
    if not probe.stem:
        return {}
    return {"stem": Setting(probe.stem, f"halves images of {max(facts.size)} pixels first: a quarter of the work")}


def training_seconds(facts: Facts, step: float, batch: int, epochs: int) -> float:
    """Seconds of a training whose step takes `step` seconds: all steps, and after each epoch the validation images, each at a
    third of a training image's cost."""
    return epochs * step * (math.ceil(facts.images / batch) + facts.val / batch / 3)


def advice(facts: Facts, probe: Probe, room: float) -> tuple[str, ...]:
    """Advice on problems that training settings cannot fix."""
    found = []
    if probe.fit(room) < 2:
        found.append("two images of this size may not fit the memory; extract smaller ones with --size")
    if facts.never is not None:
        found.append(f"{facts.never}: label some, or remove those keypoints, which cannot be learnt")
    if facts.left_out is not None:
        found.append(facts.left_out)
    if facts.absent >= _SOME_ABSENT and probe.model.output == "heatmap":
        found.append(
            f"{facts.absent:.0%} of the keypoints have no label in some images and one in others: scores are calibrated to tell"
            " them, for `kptool predict --min-score 0.5`; absent=empty may tell them better, at a cost in accuracy"
        )
    found.append(
        f"a finder is trained too, on {facts.scenes} whole pictures, in time that is not in the estimate; --no-finder leaves it"
        " out"
        if facts.scenes
        else "no finder is trained: the instances fill their pictures, or are used with the whole picture"
    )
    if not facts.groups:
        found.append("the images have no groups: if several show the same person or object, extract with --groups")
    if facts.val < _FEW_VAL:
        found.append(f"{facts.val} validation images are too few to compare models; --cv 5 measures every image once")
    own = [f"{offer.name} ({offer.origin})" for offer in plugins.offers() if offer.kind == "models"]
    if own:
        found.append(f"models of plugins were not measured: {', '.join(own)}; compare them with `kptool train all`")
    start = initial.advice(probe.name, facts.skeleton, facts.images)
    return (*found, start) if start is not None else tuple(found)
