"""Learning curves: how much more data would help, from networks trained on nested subsets of the training images.

    training images -> nested random subsets of whole groups -> a network for each -> error on the validation images -> csv

Every network takes the same number of steps, so that small subsets are not trained for less. The last epoch counts rather
than the best, which would favour the networks that fluctuate most. Each finished point is written to the csv at once;
resuming with other settings or data is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kptool.advise import powerlaw
from kptool.advise.powerlaw import Fitted, Forecast
from kptool.base import palette
from kptool.base.config import ModelConfig, TrainConfig, require, to_dict
from kptool.base.errors import CheckpointError
from kptool.cache.store import Cache
from kptool.network import cards, checkpoint, provenance
from kptool.network.keypoint_model import KeypointModel
from kptool.system import devices
from kptool.system.files import atomic, write_text
from kptool.system.progress import Progress, silent
from kptool.system.workers import Workers
from kptool.training.batches import Epochs, TrainingSet
from kptool.training.run_folder import changed
from kptool.training.split import Split, describe_data
from kptool.training.trainer import Trainer

POINTS, SETTINGS = "learn-curve.csv", "settings.json"
_ROUNDS = 5
"""Epochs of a training; the label offset is measured after each."""
_SMALLEST, _SPAN = 8, 16
"""The smallest subset has `_SMALLEST` images or 1/`_SPAN` of all, whichever is more."""


@dataclass(frozen=True)
class Plan:
    """What to train: `sizes` subsets, each drawn and trained `repeats` times with other seeds, for `steps` steps.

    Raises ConfigError for fewer than one step.
    """

    sizes: int = 5
    repeats: int = 2
    steps: int = 300

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"--steps must be at least 1; got {self.steps}")


DEFAULT_PLAN = Plan()


@dataclass(frozen=True)
class Point:
    """One network: the numbers of images and groups it was trained on, and its errors on the validation images.

    repeat: the number of the draw and seed. rmse: in source pixels. nme: see `kptool.evaluation.metrics`.
    """

    images: int
    groups: int
    repeat: int
    rmse: float
    nme: float
    seconds: float


def measure(
    cache: Cache,
    out: Path,
    model: ModelConfig,
    config: TrainConfig,
    plan: Plan = DEFAULT_PLAN,
    *,
    device: str = "auto",
    progress: Progress = silent,
) -> list[Point]:
    """Measure the points of a cache's learning curve that the folder `out` does not hold yet; returns all of them.

    Writes OUT/learn-curve.csv after every network, and those of all images as OUT/full-N/model.safetensors. Raises
    ConfigError for a cache without validation images or with too few training images, and CheckpointError where `out`
    holds a curve of other settings or data.
    """
    check_cache(cache)
    config = short(config, plan.steps)
    split = Split.load(cache, devices.pick(device))
    shown = split.shown(model, config)
    groups = own_groups(cache.read("group", cache.index("train")))
    data = describe_data(cache, split) | split.turned(model, config)
    drawn = {"groups": hashlib.sha256(groups.tobytes()).hexdigest(), "steps": plan.steps}
    points = resume(out, {"config": to_dict(model), "training": to_dict(config), "data": data, "curve": drawn})
    done = {(point.images, point.repeat) for point in points}
    wanted = [(r, part) for r in range(plan.repeats) for part in nested(groups, plan.sizes, seed=(config.seed, r))]
    todo = [(r, part) for r, part in wanted if (len(part), r) not in done]
    for number, (repeat, part) in enumerate(todo):
        started = time.perf_counter()
        seeded = dataclasses.replace(config, seed=config.seed + repeat)
        bar = _part_of(progress, f"{len(part)} images", number, len(todo), plan.steps)
        trained = train_part(shown, part, model, seeded, steps=plan.steps, progress=bar)
        found = split.evaluate(trained)
        if len(part) == len(groups):
            body = split.describe(found, model, config.epochs)
            path = full(out, repeat) / cards.WEIGHTS
            checkpoint.save_weights(
                path, trained, cards.Card(model, to_dict(seeded), data, body, plugins=provenance.of(model))
            )
        seconds, used = round(time.perf_counter() - started, 2), len(np.unique(groups[part]))
        points.append(Point(len(part), used, repeat, found.metrics.rmse, found.metrics.nme, seconds))
        points.sort(key=lambda point: (point.images, point.repeat))
        with atomic(out / POINTS) as temporary:
            pd.DataFrame(map(dataclasses.asdict, points)).to_csv(temporary, index=False)
    return points


def check_cache(cache: Cache) -> None:
    """Raise ConfigError where a cache has no validation images, or too few training images."""
    count = len(cache.index("train"))
    require(len(cache.index("val")) > 0, f"{cache.path} has no validation images; extract again with --val 0.1")
    require(
        count >= 2 * _SMALLEST,
        f"a curve takes at least {2 * _SMALLEST} training images; {cache.path} has {count}; label some first",
    )


def _part_of(progress: Progress, what: str, number: int, count: int, steps: int) -> Progress:
    """Progress of training `number` of `count`, reported as a part of all."""
    return lambda _, step, total: progress(what, number * steps + min(step, steps), count * steps)


def full(out: Path, repeat: int) -> Path:
    """The folder of a network that was trained on all training images."""
    return out / f"full-{repeat}"


def short(config: TrainConfig, steps: int) -> TrainConfig:
    """`config` for a training of `steps`: few epochs, and an EMA over at most about a tenth of the steps."""
    return dataclasses.replace(config, epochs=min(_ROUNDS, steps), ema=min(config.ema, max(0.0, 1 - 10 / steps)))


def train_part(
    data: TrainingSet,
    part: NDArray[np.int64],
    model: ModelConfig,
    config: TrainConfig,
    *,
    steps: int,
    progress: Progress = silent,
) -> KeypointModel:
    """Train a model for `steps`, rounded up to a multiple of the epochs, on the samples `part` of `data`."""
    trainer = Trainer(model, config, data.device, Workers())
    subset = data.subset(torch.from_numpy(part))
    epochs = Epochs(subset, model.flip_pairs, config.augment, batch_size=config.batch_size, seed=config.seed)
    epochs.steps = math.ceil(steps / config.epochs)  # an "epoch" here is any number of passes over the subset
    while trainer.epoch < config.epochs:
        trainer.run_epoch(epochs, progress)
    return trainer.average


def own_groups(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """`groups` (N,) with a group of its own for each sample of group -1."""
    return np.where(groups >= 0, groups, -1 - np.arange(len(groups)))


def nested(groups: NDArray[np.int64], sizes: int, *, seed: Sequence[int]) -> list[NDArray[np.int64]]:
    """Up to `sizes` subsets of the samples (N,), as ascending indices, each contained in the next; the last is all.

    Their sizes are spaced geometrically. A subset holds whole groups, in an order drawn from `seed`, so that more images
    mean more people; where groups do not allow a size, the nearest possible one is taken, once.
    """
    count = len(groups)
    unique, member, each = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(unique))
    place = np.empty(len(unique), np.int64)
    place[order] = np.arange(len(unique))
    reached = np.cumsum(each[order])
    smallest = min(max(_SMALLEST, count // _SPAN), count)
    wanted = np.geomspace(smallest, count, sizes) if sizes > 1 else np.array([count])
    ends = sorted({int(np.abs(reached - size).argmin()) for size in wanted} | {len(unique) - 1})
    return [np.flatnonzero(place[member] <= end) for end in ends]


def resume(out: Path, settings: dict[str, Any]) -> list[Point]:
    """The points that `out` already holds; writes `settings` beside them.

    Raises CheckpointError where the points were measured with other settings or data, or cannot be read.
    """
    path = out / SETTINGS
    now = json.loads(json.dumps(settings))
    try:
        then = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        table = pd.read_csv(out / POINTS) if (out / POINTS).exists() else pd.DataFrame()
        kinds = {"images": int, "groups": int, "repeat": int, "rmse": float, "nme": float, "seconds": float}
        points = [Point(**{key: kind(row[key]) for key, kind in kinds.items()}) for _, row in table.iterrows()]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{out} holds no readable learning curve ({error}); choose another --out") from error
    if points and then != now:
        old = then if isinstance(then, dict) else {}
        other = [f"{part}: {key}" for part in now for key in changed(part, old.get(part), now[part])]
        if other:
            raise CheckpointError(
                f"{out} holds a curve of other settings or data ({', '.join(other)}); choose another --out, or remove it"
            )
    write_text(path, json.dumps(settings, indent=1))
    return points


def fitted(points: Sequence[Point]) -> Fitted | None:
    """The power law fitted to the points' RMSE; None where they are too few."""
    images = np.array([point.images for point in points])
    return powerlaw.fit(images, np.array([point.rmse for point in points])) if powerlaw.enough(images) else None


def words(points: Sequence[Point], law: Fitted | None, forecasts: Sequence[Forecast]) -> list[str]:
    """The curve's verdict and forecasts, in sentences."""
    if law is None:
        return ["too few sizes to forecast the effect of more images; measure at least 3 with --sizes, twice each"]
    said = [
        f"{f.more} more images: about {-f.gain:+.2f} px ({f.now:.2f} -> {f.then:.2f}),"
        f" 95 % interval {-f.high:+.2f} to {-f.low:+.2f}"
        for f in forecasts
    ]
    verdicts = {
        "gain": [],
        "flat": [
            f"more images of this kind hardly help: twice as many reduce the error by less than {powerlaw.HARDLY:.0%}"
        ],
        "noisy": ["the points scatter too much to tell whether more images help; raise --repeats or --steps"],
    }
    return [*verdicts[law.verdict], *said]


def figure(points: Sequence[Point], law: Fitted | None) -> Figure:
    """A plot of the points, the fitted law up to the largest forecast, and its 95 % interval."""
    drawn = Figure(figsize=(7, 4), layout="constrained", facecolor=palette.PAPER)
    axis = drawn.subplots()
    images, errors = np.array([p.images for p in points]), np.array([p.rmse for p in points])
    if law is not None:
        counts = np.geomspace(images.min(), images.max() * powerlaw.MOST, 200)
        low, high = law.band(counts)
        inside, colour = counts <= images.max(), palette.SERIES[0]
        axis.fill_between(counts, low, high, color=colour, alpha=0.15, linewidth=0, label="95 % interval")
        a, b, c = law.law.a, law.law.b, law.law.c
        axis.plot(counts[inside], law.law(counts[inside]), color=colour, label=f"{a:.2f} + {b:.3g} n^-{c:.2f}")
        axis.plot(counts[~inside], law.law(counts[~inside]), color=colour, linestyle="--", label="forecast")
        axis.axvline(images.max(), color=palette.MUTED, linewidth=0.8)
    axis.scatter(images, errors, color=palette.SERIES[1], marker="D", s=20, zorder=3, label="measured")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axis.set(xlabel="training images, logarithmic", ylabel="validation RMSE, px")
    axis.grid(True, color=palette.GRID, linewidth=0.7)
    axis.legend(fontsize=9)
    return drawn
