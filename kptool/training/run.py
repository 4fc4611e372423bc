"""Trains a model on a cache into a run folder.

After every epoch the averaged weights are measured on the validation images; the best are written as `model.safetensors`
and the whole state as `last.ckpt`, the latter also in the middle of an epoch after a signal. See `kptool.training.loop` for
the epochs, `kptool.training.trainer` for the optimizer step, `kptool.training.run_folder` for the folder.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from kptool.base.config import ModelConfig, TrainConfig, require, to_dict
from kptool.cache.store import Cache
from kptool.network import cards
from kptool.system import devices
from kptool.system.files import locked
from kptool.system.memory import as_text
from kptool.system.progress import Progress, silent
from kptool.system.signals import deferred
from kptool.system.workers import join
from kptool.training import finder_run, start
from kptool.training.batches import Epochs
from kptool.training.loop import Loop, OnEpoch
from kptool.training.run_folder import FINDER, RunFolder, load_state
from kptool.training.schedule import Schedule
from kptool.training.split import Fold, Split, describe_data
from kptool.training.state import restore_state
from kptool.training.trainer import DivergedError, Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """The result of a finished training; `metrics` are the best epoch's on the validation images, and
    `mean_shape` those of the training images' mean shape, None where they cannot be measured."""

    model: str
    epochs: int
    best_epoch: int
    metrics: dict[str, Any]
    mean_shape: dict[str, Any] | None
    checkpoint: Path
    seconds: float
    images_per_second: float
    parameters: int
    init: dict[str, Any] | None = None
    """what was taken from other weights before the first step; see `kptool.training.init.Taken.describe`"""
    finder: dict[str, Any] | None = None
    """what the finder of the run reached, see `kptool.training.finder_run.train_finder`; None if none was trained now"""


def train(
    cache_path: Path,
    out: Path,
    model: ModelConfig,
    config: TrainConfig,
    *,
    device: str = "auto",
    resume: bool = False,
    fold: Fold | None = None,
    init: str | None = None,
    budget: float | None = None,
    memory: int | None = None,
    finder: bool = True,
    on_epoch: OnEpoch | None = None,
    progress: Progress = silent,
) -> Result:
    """Train `model` on a cache into the folder `out`.

    Writes model.safetensors, last.ckpt and metrics.csv after every epoch, each atomically, config.toml, and a line per
    epoch to train.log and to the logger `kptool.training.epochs`. With `resume`, continues from last.ckpt, whose data, split
    and settings must be the same, but for those in `kptool.training.run_folder.RESUMABLE`. `fold` (i, n) validates on the
    i-th of n folds of the cache and trains on the others, instead of the cache's own split. `init`, a weights file, a run
    folder or a name, initialises the layers that fit (see `kptool.training.init`); resuming does not read it again. With
    `budget`, in seconds, as many of the epochs are trained as fit, those before a resumption included, and the learning
    rate's schedule is laid out for them. `memory`: bytes that the images may take, by default half of what is available;
    where they do not fit, they are read from the cache as they are needed, with the same result. `finder`: also train one,
    where the cache has whole pictures to find instances in. Raises DivergedError where a number is no longer finite, after
    which `out` holds what it held before, and other KptoolErrors for bad input.
    """
    chosen = devices.of_rank(devices.pick(device))
    with join("nccl" if chosen.type == "cuda" else "gloo") as workers, Cache(cache_path) as cache:
        require(
            config.batch_size % workers.world == 0,
            f"batch_size must be a multiple of {workers.world} processes; got {config.batch_size}",
        )
        data = Split.load(cache, chosen, fold, memory)
        data.check(cache_path)
        if data.stored and workers.rank == 0:
            log.warning(
                "%s of images stay in the cache, because they would take more memory than there is to be used (--memory);"
                " they are read as they are needed",
                as_text(data.stored),
            )
        trainer = Trainer(model, config, chosen, workers)
        settings = {"config": to_dict(model), "training": to_dict(config), "data": describe_data(cache, data)}
        settings["data"] |= data.turned(model, config)
        prior = trainer.average.prior = data.prior(model, config)
        settings["data"] |= {} if prior is None else {cards.PRIOR: prior.to_dict()}
        epochs = Epochs(
            data.shown(model, config), model.flip_pairs, config.augment, batch_size=config.batch_size, seed=config.seed
        )
        trainer.schedule = Schedule(config.epochs * epochs.steps)
        folder = RunFolder(out, settings, resumed=resume)
        both = finder_run.wanted(cache, asked=finder, fold=fold)
        part = budget
        if both and budget is not None:
            part = finder_run.left_for_epochs(cache, trainer, out, budget, settings if resume else None)
        if resume:
            restore(trainer, out, settings, init, part, epochs.steps)
        elif init is not None:
            start.initialise(trainer, init, folder)
        start.check_freeze(trainer)
        with locked(out) if workers.rank == 0 else contextlib.nullcontext(), deferred() as stop:
            before, found = trainer.step, None
            try:
                Loop(trainer, epochs, data, folder, stop, part, budget, on_epoch, progress).train()
            except DivergedError as error:
                raise DivergedError(f"{error}; {folder.roll_back()}" if workers.rank == 0 else str(error)) from error
            if workers.rank == 0:
                done = trainer.step == before and (out / FINDER).is_file()
                if both and not done:
                    rest = None if budget is None else max(0.0, budget - trainer.seconds)
                    found = finder_run.train_finder(cache, folder, trainer, stop, rest, progress)
                folder.finish()
        return replace(summarise(trainer, epochs, data, out), init=settings["data"].get("init"), finder=found)


def restore(
    trainer: Trainer, out: Path, settings: dict[str, Any], init: str | None, budget: float | None, steps: int
) -> None:
    """Load last.ckpt into a trainer of `steps` steps per epoch, and lay out the schedule that holds from here on.

    Where epochs, patience or time budget are not those of before, that is the schedule of a training which had the new
    number of epochs from its beginning. Raises CheckpointError where other settings, data or split are not `settings`, or
    where the training did not start from the weights `init`, if given.
    """
    state, changes = load_state(out, settings)
    settings["data"] |= start.remembered(state, out, init)
    whole, done = trainer.schedule, state.get("epoch")
    require(
        not isinstance(done, int) or done <= trainer.config.epochs,
        f"{out} has {done} epochs already; resume it with --epochs {done} or more, or choose another --out",
    )
    restore_state(trainer, state)
    require(
        0 <= trainer.step - trainer.epoch * steps <= steps,
        f"{out / cards.STATE} is at step {trainer.step}, which is not in epoch {trainer.epoch}; start without --resume",
    )
    if changes or state.get("budget") != budget:
        trainer.schedule = whole
    if changes and trainer.step < whole.total:
        log.warning(
            "%s has %d epochs and continues to %d, with the learning rate that a training of %d epochs has from there on: %.1e",
            out, trainer.epoch, trainer.config.epochs, trainer.config.epochs, trainer.rate(trainer.step),
        )  # fmt: skip
    if trainer.history and not trainer.best:  # written by an older release
        trainer.best = cards.read_card(out / cards.WEIGHTS).metrics
    then, now = state.get("threads"), torch.get_num_threads()
    if trainer.device.type == "cpu" and isinstance(then, int) and then != now:
        log.warning(
            "%s was trained with %d threads and continues with %d: sums are added up in another order, so the result is not"
            " bit-identical to that of an uninterrupted run",
            out,
            then,
            now,
        )


def summarise(trainer: Trainer, epochs: Epochs, data: Split, out: Path) -> Result:
    """The result of a finished training."""
    best = min(trainer.history, key=lambda row: row["rmse"], default={"epoch": 0})
    trained = sum(row["train_seconds"] for row in trainer.history)
    path = out / cards.WEIGHTS
    return Result(
        model=trainer.model.config.model,
        epochs=trainer.epoch,
        best_epoch=int(best["epoch"]),
        metrics=trainer.best,
        mean_shape=None if data.baseline is None else data.baseline.to_dict(),
        checkpoint=path,
        seconds=trainer.seconds,
        images_per_second=trainer.step * epochs.batch_size / trained if trained else 0.0,
        parameters=sum(p.numel() for p in trainer.model.parameters()),
    )
