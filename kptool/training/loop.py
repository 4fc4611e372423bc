"""The epochs of a training, one after the other, each measured and recorded in the run folder."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch.distributed as dist

from kptool.base.errors import DataError
from kptool.system.progress import Progress, silent
from kptool.system.signals import Deferred, Stopped
from kptool.training import epoch_log
from kptool.training.batches import Epochs
from kptool.training.run_folder import RunFolder
from kptool.training.schedule import epochs_within, growth, typical
from kptool.training.split import Split
from kptool.training.state import state_of
from kptool.training.trainer import DivergedError, Trainer

log = logging.getLogger(__name__)

OnEpoch = Callable[[Mapping[str, Any]], None]
"""Called on rank 0 after every epoch with its row of metrics.csv; an exception that it raises ends the training."""


@dataclass
class Loop:
    """Trains epoch after epoch, and records each.

    `budget`: seconds that the training may take, those before it was resumed included; None for no limit. `asked`: the same
    with what follows it, as the user asked for.
    """

    trainer: Trainer
    epochs: Epochs
    data: Split
    folder: RunFolder
    stop: Deferred
    budget: float | None = None
    asked: float | None = None
    on_epoch: OnEpoch | None = None
    progress: Progress = silent

    def __post_init__(self) -> None:
        self._writes = self.trainer.workers.rank == 0
        self._begun, self._before = time.perf_counter(), self.trainer.seconds
        self._why_early = ""
        self._configured = False
        before = self.trainer.epoch - 1
        self._small = before >= 0 and self.trainer.is_small(before * self.epochs.steps)
        self._since = self.trainer.epoch

    @property
    def planned(self) -> int:
        """Epochs in all, as planned now."""
        return self.trainer.schedule.total // self.epochs.steps

    @property
    def _durations(self) -> list[float]:
        """Seconds of each epoch that is done."""
        return [b - a for a, b in pairwise([0.0, *(row["seconds"] for row in self.trainer.history)])]

    @property
    def _alike(self) -> int:
        """How many of the latest epochs had images of one size; after a resumption, the last is known to."""
        return max(1, self.trainer.epoch - self._since)

    @property
    def _longer(self) -> float:
        """How many times as long as the latest epoch the rest takes."""
        trainer = self.trainer
        return growth(trainer.schedule.progress(trainer.step), trainer.small, latest_small=self._small)

    def finished(self) -> bool:
        """Whether no epoch is left."""
        return self.trainer.epoch >= self.planned

    def train(self) -> None:
        """Train until the planned epochs are done."""
        if self.finished():
            return
        if self._writes:
            self.introduce()
        self.replan()
        while not self.finished():
            self.epoch()
        if self._writes and self._why_early:
            self.folder.log(f"# {self.trainer.epoch} of {self.trainer.config.epochs} epochs: {self._why_early}")

    def introduce(self) -> None:
        """Log the heading of the lines that follow."""
        trainer, data = self.trainer, self.data
        images = f"{len(data.train)} training and {len(data.val_rows)} validation images"
        verb = f"continuing after epoch {trainer.epoch}" if trainer.step else "training"
        self.folder.log(f"# {verb}: {trainer.model.config.model}, {images}, {trainer.device.type}")
        self.folder.log(f"# {epoch_log.LEGEND}")
        self.folder.log(epoch_log.heading())

    def epoch(self) -> None:
        """Train an epoch, or the rest of one, and record it; after a signal, save the state in the middle of it."""
        started = time.perf_counter()
        self._tell_size()
        try:
            loss = self.trainer.run_epoch(self.epochs, self._described, self.stop)
        except Stopped as request:
            raise self.stopped(request, started) from None
        row = self.measure(loss, started) if self._writes else None
        self.replan()
        if row is not None:
            self.record(row)

    def _tell_size(self) -> None:
        """Log whether images are small where that changes."""
        small = self.trainer.is_small(self.trainer.epoch * self.epochs.steps)
        if small != self._small:
            self._since = self.trainer.epoch
        if small != self._small and self._writes:
            before = (
                "of half the size, a quarter of the work; val px is on whole ones" if small else "of their whole size"
            )
            self.folder.log(f"# from epoch {self.trainer.epoch + 1} on, training images are {before}")
        self._small = small

    def _described(self, what: str, done: int, total: int | None) -> None:
        """Progress, with the last epoch's loss and the best RMSE."""
        history = self.trainer.history
        if history:
            best = min(row["rmse"] for row in history)
            what = f"{what}, loss {history[-1]['loss']:.4g}, best {best:.2f} px"
        self.progress(what, done, total)

    def measure(self, loss: float, started: float) -> dict[str, Any]:
        """Measure the averaged weights, write them where they are the best so far, and return the epoch's row."""
        trainer = self.trainer
        rate = trainer.rate(trainer.step - 1)
        trained = trainer.part + time.perf_counter() - started
        try:
            evaluation, val_loss = trainer.validate(self.data)
        except DataError as error:
            raise DivergedError(f"the training diverged in epoch {trainer.epoch}: {error}") from error
        metrics, trainer.part = evaluation.metrics, 0.0
        trainer.seconds += time.perf_counter() - started
        best = min((r["rmse"] for r in trainer.history), default=math.inf)
        row = {
            "epoch": trainer.epoch,
            "loss": loss,
            "val_loss": val_loss,
            "train_rmse": trainer.train_rmse if math.isfinite(trainer.train_rmse) else None,
            **{name: getattr(metrics, name) for name in ("rmse", "nme", "auc", "failure_rate")},
            "mean_shape_rmse": self.data.baseline_rmse,
            "lr": rate,
            "images_per_second": self.epochs.steps * self.epochs.batch_size / max(trained, 1e-9),
            "train_seconds": trained,
            "seconds": trainer.seconds,
        }
        if metrics.rmse < best:
            for other in trainer.history:
                other["best"] = 0
            trainer.best = self.data.describe(evaluation, trainer.model.config, trainer.epoch)
            self.folder.write_weights(trainer.average, trainer.best)
        trainer.history.append({**row, "best": int(metrics.rmse < best)})
        return trainer.history[-1]

    def replan(self) -> None:
        """Decide on rank 0 for all how many epochs there will be: fewer where patience or the time budget runs out."""
        trainer, config = self.trainer, self.trainer.config
        planned, history = self.planned, trainer.history
        if self._writes and history and not self.finished():
            if self.budget is not None:
                spent = self._before + time.perf_counter() - self._begun
                planned = epochs_within(self.budget, spent, self._durations, config.epochs, self._longer, self._alike)
                self._why_early = (
                    f"as many as fit into {epoch_log.clock(self.budget)}" if planned < config.epochs else ""
                )
            best = min(history, key=lambda row: row["rmse"])["epoch"]
            if config.patience and trainer.epoch - best >= config.patience and not trainer.is_small(trainer.step):
                planned = trainer.epoch
                self._why_early = f"no better validation RMSE since epoch {best}"
        planned = trainer.workers.agree(planned)
        trainer.schedule.lay_out(trainer.step, planned * self.epochs.steps)

    def record(self, row: Mapping[str, Any]) -> None:
        """Write the history, the state and a line of the log."""
        if not self._configured:
            self.folder.write_config()
            self._configured = True
        self.folder.write_history(self.trainer.history)
        self.write_state()
        each = typical(self._durations, self._alike) * self._longer
        left = (self.planned - self.trainer.epoch) * each
        self.folder.log(epoch_log.line(row, self.planned, left))
        if self.on_epoch is not None:
            self.on_epoch(row)

    def write_state(self) -> None:
        """Write last.ckpt."""
        self.folder.write_state({**state_of(self.trainer), "budget": self.budget, "time": self.asked})

    def stopped(self, request: Stopped, started: float) -> Stopped:
        """Write the state in the middle of an epoch; returns the request with a hint on how to continue.

        The other processes wait, since torchrun ends all when one exits.
        """
        trainer, out = self.trainer, self.folder.out
        trainer.check_finite()
        spent = time.perf_counter() - started
        trainer.seconds, trainer.part = trainer.seconds + spent, trainer.part + spent
        if self._writes:
            self.write_state()
            self.folder.log(f"# stopped in epoch {trainer.epoch + 1} by {signal.Signals(request.number).name}")
        if trainer.workers.world > 1:
            dist.barrier()
        return Stopped(request.number, f"{out} holds the training so far; the same command with --resume continues it")
