"""Training: one engine for every model, readable from top to bottom.

AdamW with warm-up and cosine, averaged weights, clipped gradients, bfloat16 where it is fast. After every epoch the
averaged weights are measured on the validation split; the best are kept as `model.safetensors`, and the whole state
as `last.ckpt`, also in the middle of an epoch when a signal asks for the end. The random numbers of a step come from
(seed, epoch, step), so a resumed run needs no generator's state and is bit for bit the run that was never stopped. Under
torchrun, processes share each batch and compute what one would.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist
from torch import Tensor, nn

from kptool import cards, checkpoint, devices
from kptool.augmentation import Batch, Share
from kptool.batches import Epochs, Resident
from kptool.cache import Cache
from kptool.config import ModelConfig, TrainConfig, require, to_dict
from kptool.detector import Detector
from kptool.errors import CheckpointError
from kptool.files import atomic, locked
from kptool.optimization import learning_rate, parameter_groups, update_average
from kptool.progress import Progress, silent
from kptool.sides import Fold, Split, describe_data
from kptool.stopping import Deferred, Stopped, deferred
from kptool.targets import Targets

_OFFSET_IMAGES = 256


@dataclass(frozen=True)
class Result:
    """What a finished training reports; `metrics` are the best epoch's, on the validation split."""

    model: str
    epochs: int
    best_epoch: int
    metrics: dict[str, Any]
    checkpoint: Path
    seconds: float
    images_per_second: float
    parameters: int


class Trainer:
    """A training in progress: the network, its average, the optimizer, and how far it has come."""

    def __init__(self, model: ModelConfig, config: TrainConfig, device: torch.device, share: Share) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.share = config, device, share
        self.detector = Detector(model).place(device)
        self.average = copy.deepcopy(self.detector).eval()
        self.network: nn.Module = self.detector
        if share.world > 1:
            self.network = nn.parallel.DistributedDataParallel(self.detector)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.detector, config), lr=config.lr)
        self.amp = devices.use_amp(config.amp, device)
        self.targets = Targets(self.detector)
        self.step, self.epoch, self.seconds = 0, 0, 0.0
        self.history: list[dict[str, float]] = []
        self.losses = torch.zeros((), device=device)
        """Sum over the steps of the epoch so far."""

    def run_epoch(self, data: Epochs, progress: Progress, stop: Deferred | None = None) -> float:
        """Train one epoch, or the rest of one; returns its mean loss. Raises Stopped, between two steps, when asked to."""
        self.network.train()
        total, begun = self.config.epochs * data.steps, self.step - self.epoch * data.steps
        for batch in data.epoch(self.epoch, self.share, self.detector.offset.clone(), begun):
            if stop is not None:
                stop.check()
            self.losses += self.train_step(batch, total)
            progress(f"epoch {self.epoch + 1}/{self.config.epochs}", self.step, total)
        mean = float(self.losses) / data.steps
        self.losses.zero_()
        self.epoch += 1
        self.measure_offset(data.data)
        return mean

    def measure_offset(self, data: Resident) -> None:
        """Measure the labels' asymmetry with the averaged weights, on some of the training images."""
        if self.config.offset and self.config.augment.flip:
            some = data.take(torch.linspace(0, len(data) - 1, min(len(data), _OFFSET_IMAGES)).long())
            self.average.measure_offset(some.images, some.points, some.labelled)
            self.detector.offset.copy_(self.average.offset)

    def train_step(self, batch: Batch, total: int) -> Tensor:
        """One optimizer step towards step `total`; returns the loss of the whole batch, detached."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, total, self.config)
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # for a model with dropout
        loss = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.detector.parameters(), self.config.clip)
        self.optimizer.step()
        self.step += 1
        update_average(self.average, self.detector, min(self.config.ema, self.step / (self.step + 9)))
        whole = loss.detach()
        if self.share.world > 1:  # a process's own, scaled by `world`, is far from it
            dist.all_reduce(whole)
            whole /= self.share.world
        return whole

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss over labelled keypoints of the whole batch.

        A process sees its share alone; scaled by `world`, the mean of the processes' gradients (which is what DDP
        takes) is the gradient of the mean over all of them.
        """
        target, points = self.targets(batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            raw = self.network(batch.images)
        each = self.detector.loss.function(raw.float(), target, points)
        count = batch.labelled.sum()
        if self.share.world > 1:
            dist.all_reduce(count)
        return torch.where(batch.labelled, each, 0.0).sum() * self.share.world / count.clamp_min(1)

    def state(self) -> dict[str, Any]:
        """All that resuming needs, as plain data."""
        return {
            "schema": cards.SCHEMA,
            "detector": self.detector.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "epoch": self.epoch,
            "losses": float(self.losses),
            "seconds": self.seconds,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`. Raises CheckpointError where it is of another network."""
        try:
            self.detector.load_state_dict(state["detector"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.epoch = int(state["step"]), int(state["epoch"])
            self.losses.fill_(float(state["losses"]))
            self.seconds, self.history = float(state["seconds"]), list(state["history"])
            check_progress(self)
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise CheckpointError(
                f"the training state does not fit the model ({str(error).splitlines()[0]})"
            ) from error


def check_progress(trainer: Trainer) -> None:
    """Raise ValueError where what was restored cannot be a training of these epochs: such a file is somebody else's."""
    numbers = [trainer.seconds, float(trainer.losses)]
    numbers += [float(row[key]) for row in trainer.history for key in ("epoch", "rmse", "train_seconds")]
    if not all(map(math.isfinite, numbers)) or len(trainer.history) != trainer.epoch:
        raise ValueError("its history is no history of a training")
    if not (0 <= trainer.epoch <= trainer.config.epochs and trainer.epoch <= trainer.step < 2**53):
        raise ValueError(f"epoch {trainer.epoch} and step {trainer.step} are out of range")
    for parameter, kept in trainer.optimizer.state.items():
        if any(value.ndim and value.shape != parameter.shape for value in kept.values()):
            raise ValueError("the optimizer's moments are of another shape than the weights")


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

    Writes model.safetensors, last.ckpt and metrics.csv after every epoch, each all or nothing. With `resume`, continues
    from last.ckpt, whose settings, data and split must be the same. `fold` (i, n) measures on the i-th of n parts of
    the cache and trains on the others, instead of the cache's own split. Raises KptoolError for what the user can mend.
    """
    with processes(devices.pick(device)) as (chosen, share), Cache(cache_path) as cache:
        require(
            config.batch_size % share.world == 0,
            f"batch_size must be a multiple of {share.world} processes; got {config.batch_size}",
        )
        data = Split.load(cache, chosen, fold)
        identity = describe_data(cache, data)
        require(
            len(data.train) > 0, f"{cache_path} has no image in its train split; extract again with a smaller --val"
        )
        trainer = Trainer(model, config, chosen, share)
        settings = {"config": to_dict(model), "training": to_dict(config), "data": identity}
        if resume:
            restore(trainer, out, settings)
        epochs = Epochs(data.train, model.flip_pairs, config.augment, batch_size=config.batch_size, seed=config.seed)
        require(
            0 <= trainer.step - trainer.epoch * epochs.steps <= epochs.steps,
            f"{out / cards.STATE} is at step {trainer.step}, which epoch {trainer.epoch} has not; start without --resume",
        )
        with locked(out) if share.rank == 0 else contextlib.nullcontext(), deferred() as stop:
            while trainer.epoch < config.epochs:
                started = time.perf_counter()
                try:
                    loss = trainer.run_epoch(epochs, progress, stop)
                except Stopped as request:
                    raise stopped(trainer, request, started, out, settings) from None
                if share.rank == 0:
                    record_epoch(trainer, data, loss, started, out, settings)
        return summarise(trainer, epochs, out)


def record_epoch(
    trainer: Trainer, data: Split, loss: float, started: float, out: Path, settings: dict[str, Any]
) -> None:
    """Measure the averaged weights; write the history, the best weights and the state."""
    trained = time.perf_counter() - started
    evaluation = data.evaluate(trainer.average)
    metrics = evaluation.metrics
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
    out.mkdir(parents=True, exist_ok=True)
    if row["rmse"] < best:
        measured = data.describe(evaluation, trainer.detector.config.names, trainer.epoch)
        card = cards.Card(trainer.detector.config, settings["training"], settings["data"], measured)
        checkpoint.save_weights(out / cards.WEIGHTS, trainer.average, card)
    with atomic(out / "metrics.csv") as temporary:
        pd.DataFrame(trainer.history).to_csv(temporary, index=False)
    checkpoint.save_state(out / cards.STATE, {**trainer.state(), **settings})


def stopped(trainer: Trainer, request: Stopped, started: float, out: Path, settings: dict[str, Any]) -> Stopped:
    """Write the state in the middle of an epoch; returns the request with a word on how to go on."""
    trainer.seconds += time.perf_counter() - started
    if trainer.share.rank == 0:
        checkpoint.save_state(out / cards.STATE, {**trainer.state(), **settings})
    return Stopped(request.number, f"{out} holds the training so far; the same command with --resume goes on")


def restore(trainer: Trainer, out: Path, settings: dict[str, Any]) -> None:
    """Load last.ckpt. Raises CheckpointError where settings, data or split differ from those it was trained with."""
    state = checkpoint.load_state(out / cards.STATE)
    for part, now in settings.items():
        then = state.get(part)
        if then != now:
            changed = [key for key in now if not isinstance(then, dict) or then.get(key) != now[key]]
            raise CheckpointError(
                f"{out} was trained with another {part} ({', '.join(changed)});"
                " resume with the same command and the same cache, or choose another --out"
            )
    trainer.restore(state)


def summarise(trainer: Trainer, epochs: Epochs, out: Path) -> Result:
    """The result of a finished training."""
    best = min(trainer.history, key=lambda row: row["rmse"], default={"epoch": 0})
    trained = sum(row["train_seconds"] for row in trainer.history)
    path = out / cards.WEIGHTS
    return Result(
        model=trainer.detector.config.model,
        epochs=trainer.epoch,
        best_epoch=int(best["epoch"]),
        metrics=cards.read_card(path).metrics if trainer.share.rank == 0 else {},
        checkpoint=path,
        seconds=trainer.seconds,
        images_per_second=trainer.step * epochs.batch_size / trained if trained else 0.0,
        parameters=sum(p.numel() for p in trainer.detector.parameters()),
    )


@contextlib.contextmanager
def processes(device: torch.device) -> Iterator[tuple[torch.device, Share]]:
    """This process's device and share of the work, joined with the others where torchrun started several."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield device, Share()
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device, Share(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
