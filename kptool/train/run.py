"""Trains a model on a cache into a run folder.

After every epoch the averaged weights are measured on the validation images; the best are written as `model.safetensors`
and the whole state as `last.ckpt`, the latter also in the middle of an epoch after a signal. See `kptool.train.trainer`
for the optimizer step, `kptool.train.run_folder` for the folder.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from kptool.base.config import ModelConfig, TrainConfig, require, to_dict
from kptool.base.errors import DataError
from kptool.cache.store import Cache
from kptool.network import cards
from kptool.system import devices
from kptool.system.files import locked
from kptool.system.progress import Progress, silent
from kptool.system.signals import Deferred, Stopped, deferred
from kptool.system.workers import join
from kptool.train.batches import Epochs
from kptool.train.optimizer import learning_rate
from kptool.train.run_folder import RunFolder, load_state
from kptool.train.split import Fold, Split, describe_data
from kptool.train.trainer import DivergedError, Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """The result of a finished training; `metrics` are the best epoch's, on the validation images."""

    model: str
    epochs: int
    best_epoch: int
    metrics: dict[str, Any]
    checkpoint: Path
    seconds: float
    images_per_second: float
    parameters: int


def train(
    cache_path: Path,
    out: Path,
    model: ModelConfig,
    config: TrainConfig,
    *,
    device: str = "auto",
    resume: bool = False,
    fold: Fold | None = None,
    progress: Progress = silent,
) -> Result:
    """Train `model` on a cache into the folder `out`.

    Writes model.safetensors, last.ckpt and metrics.csv after every epoch, each atomically. With `resume`, continues
    from last.ckpt, whose settings, data and split must be the same. `fold` (i, n) validates on the i-th of n folds of
    the cache and trains on the others, instead of the cache's own split. Raises DivergedError where a number is no
    longer finite, after which `out` holds what it held before, and other KptoolErrors for bad input.
    """
    chosen = devices.of_rank(devices.pick(device))
    with join("nccl" if chosen.type == "cuda" else "gloo") as workers, Cache(cache_path) as cache:
        require(
            config.batch_size % workers.world == 0,
            f"batch_size must be a multiple of {workers.world} processes; got {config.batch_size}",
        )
        data = Split.load(cache, chosen, fold)
        data.check(cache_path)
        trainer = Trainer(model, config, chosen, workers)
        settings = {"config": to_dict(model), "training": to_dict(config), "data": describe_data(cache, data)}
        if resume:
            restore(trainer, out, settings)
        epochs = Epochs(data.train, model.flip_pairs, config.augment, batch_size=config.batch_size, seed=config.seed)
        require(
            0 <= trainer.step - trainer.epoch * epochs.steps <= epochs.steps,
            f"{out / cards.STATE} is at step {trainer.step}, which is not in epoch {trainer.epoch}; start without --resume",
        )
        folder = RunFolder(out, settings, resumed=resume)
        with locked(out) if workers.rank == 0 else contextlib.nullcontext(), deferred() as stop:
            try:
                while trainer.epoch < config.epochs:
                    train_epoch(trainer, epochs, data, folder, progress, stop)
            except DivergedError as error:
                raise DivergedError(f"{error}; {folder.roll_back()}" if workers.rank == 0 else str(error)) from error
            if workers.rank == 0:
                folder.finish()
        return summarise(trainer, epochs, out)


def train_epoch(
    trainer: Trainer, epochs: Epochs, data: Split, folder: RunFolder, progress: Progress, stop: Deferred
) -> None:
    """Train an epoch, or the rest of one, and record it; after a signal, save the state in the middle of it."""
    started = time.perf_counter()
    try:
        loss = trainer.run_epoch(epochs, progress, stop)
    except Stopped as request:
        raise stopped(trainer, request, started, folder) from None
    if trainer.workers.rank == 0:
        record_epoch(trainer, data, loss, started, folder)


def record_epoch(trainer: Trainer, data: Split, loss: float, started: float, folder: RunFolder) -> None:
    """Measure the averaged weights; write the history, the state and, where they are the best so far, the weights."""
    trained = trainer.part + time.perf_counter() - started
    try:
        evaluation = data.evaluate(trainer.average)
    except DataError as error:
        raise DivergedError(f"the training diverged in epoch {trainer.epoch}: {error}") from error
    metrics, trainer.part = evaluation.metrics, 0.0
    trainer.seconds += time.perf_counter() - started
    row = {
        "epoch": trainer.epoch,
        "loss": loss,
        "lr": learning_rate(
            trainer.step - 1, trainer.config.epochs * max(1, trainer.step // trainer.epoch), trainer.config
        ),
        **{name: getattr(metrics, name) for name in ("rmse", "nme", "auc", "failure_rate")},
        "train_seconds": trained,
        "seconds": trainer.seconds,
    }
    best = min((r["rmse"] for r in trainer.history), default=math.inf)
    trainer.history.append(row)
    if row["rmse"] < best:
        trainer.best = data.describe(evaluation, trainer.model.config.names, trainer.epoch)
        folder.write_weights(trainer.average, trainer.best)
    folder.write_history(trainer.history)
    folder.write_state(trainer.state())


def stopped(trainer: Trainer, request: Stopped, started: float, folder: RunFolder) -> Stopped:
    """Write the state in the middle of an epoch; returns the request with a hint on how to continue.

    The other processes wait, since torchrun ends all when one exits.
    """
    trainer.check_finite()
    spent = time.perf_counter() - started
    trainer.seconds, trainer.part = trainer.seconds + spent, trainer.part + spent
    if trainer.workers.rank == 0:
        folder.write_state(trainer.state())
    if trainer.workers.world > 1:
        dist.barrier()
    return Stopped(
        request.number, f"{folder.out} holds the training so far; the same command with --resume continues it"
    )


def restore(trainer: Trainer, out: Path, settings: dict[str, Any]) -> None:
    """Load last.ckpt. Raises CheckpointError where its settings, data or split are not `settings`."""
    state = load_state(out, settings)
    trainer.restore(state)
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


def summarise(trainer: Trainer, epochs: Epochs, out: Path) -> Result:
    """The result of a finished training."""
    best = min(trainer.history, key=lambda row: row["rmse"], default={"epoch": 0})
    trained = sum(row["train_seconds"] for row in trainer.history)
    path = out / cards.WEIGHTS
    return Result(
        model=trainer.model.config.model,
        epochs=trainer.epoch,
        best_epoch=int(best["epoch"]),
        metrics=trainer.best,
        checkpoint=path,
        seconds=trainer.seconds,
        images_per_second=trainer.step * epochs.batch_size / trained if trained else 0.0,
        parameters=sum(p.numel() for p in trainer.model.parameters()),
    )
