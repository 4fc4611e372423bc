"""The training loop's state and its optimizer step, the same for every model and on any number of processes.

AdamW with warm-up and cosine decay, an exponential moving average of the weights, gradient clipping, bfloat16 where it is
fast; a step may be recorded and replayed. The random numbers of a step derive from (seed, epoch, step), so resuming needs
no generator state: on a CPU with the same number of threads, a resumed run is bit-identical to one that was never stopped. Under
torchrun, processes share each batch and compute the same as a single one.

A loss, gradient or weight that is not finite ends the training at once: it never gets into metrics or files.
"""

from __future__ import annotations

import copy
import math
import signal
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from kptool.base.config import ModelConfig, TrainConfig
from kptool.base.errors import ConfigError
from kptool.base.steps import COMPILE
from kptool.cache.stored_images import blocks
from kptool.evaluation.evaluation import Evaluation, Predictions, compare
from kptool.network import layers
from kptool.network.keypoint_model import KeypointModel
from kptool.system import devices
from kptool.system.progress import Progress
from kptool.system.signals import Deferred, Stopped
from kptool.system.workers import Workers
from kptool.training.augmentation import Batch
from kptool.training.batches import Epochs, Pending, TrainingSet
from kptool.training.init import Taken, take
from kptool.training.optimizer import adamw, average_decay, learning_rate, set_rate, update_average
from kptool.training.recording import Recorder, records
from kptool.training.schedule import Schedule
from kptool.training.split import Split
from kptool.training.targets import Targets

_SAMPLE = 256
"""Training images, at most, on which the label offset and the training RMSE are measured."""
_VALIDATION_BATCH = 64
_CHECK_INTERVAL = 16
"""Steps between two checks of an accelerator's results, each of which waits for it."""


class DivergedError(ConfigError):
    """A loss, gradient or weight is no longer finite."""


class Trainer:
    """A training in progress: the model, its average, the optimizer, step, epoch and history."""

    def __init__(self, model: ModelConfig, config: TrainConfig, device: torch.device, workers: Workers) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.workers = config, device, workers
        self.model = KeypointModel(model).place(device)
        self.average = copy.deepcopy(self.model).eval()
        self.network: nn.Module = self.model
        if workers.world > 1:
            self.network = nn.parallel.DistributedDataParallel(layers.synchronised(self.model, device))
        if config.step == COMPILE:
            self.network = torch.compile(self.network, dynamic=False)  # type: ignore[assignment]
        self.optimizer = adamw(self.model, config, device)
        self.amp = devices.use_amp(config.amp, device)
        self.targets = Targets(self.model)
        self.step, self.epoch = 0, 0
        self.seconds, self.part = 0.0, 0.0
        """seconds of the whole training, and of the current epoch's steps before the last resumption"""
        self.schedule = Schedule(0)
        """of the learning rate, in steps; laid out for all epochs where it is still empty when the first one begins"""
        self.train_rmse = math.nan
        """source pixels, on some training images, after the last epoch"""
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        """the metrics of the best weights"""
        self.sums = torch.zeros(2, device=device)
        """over the current epoch's steps: the sum of losses, and the number of processes that were asked to stop"""
        self.taken: tuple[str, ...] = ()
        """the model's layers that were initialised from other weights, by name"""
        self._frozen: list[nn.Parameter] = []
        self._sample: TrainingSet | None = None
        self._stop: Deferred | None = None
        self._check_interval = 1 if device.type == "cpu" else _CHECK_INTERVAL
        self._decay, self._small = torch.zeros((), device=device), False
        self._noise = torch.Generator(device)
        self._recorder = Recorder(device, self._noise) if records(config.step, device, workers) else None

    def run_epoch(self, data: Epochs, progress: Progress, stop: Deferred | None = None) -> float:
        """Train one epoch, or the rest of one; returns its mean loss.

        Raises Stopped, between two steps, after a signal, and DivergedError.
        """
        self.network.train()
        self.freeze()
        self._stop = stop
        self.schedule.total = self.schedule.total or self.config.epochs * data.steps
        total, begun = self.schedule.total, self.step - self.epoch * data.steps
        small = self.is_small(self.epoch * data.steps)
        if self._recorder is not None and small != self._small:
            self._recorder.forget()  # and the memory of the other size
        self._small = small
        for batch in data.pending(self.epoch, self.workers, self.model.offset.clone(), begun):
            self.check_stop()
            self.sums[0] += self.train_step(batch, small=small)
            if self.step % self._check_interval == 0:
                self.check_finite()
            progress(f"epoch {self.epoch + 1}/{total // data.steps}", self.step, total)
        self.check_finite(whole=True)
        mean = float(self.sums[0]) / data.steps
        self.sums[0] = 0
        self.epoch += 1
        self.measure_training(data.data, offset=not small)
        return mean

    def is_small(self, step: int) -> bool:
        """Whether the images of the epoch that begins at `step` have half their size (progressive resizing, as in Tan & Le,
        EfficientNetV2, ICML 2021, section 4): a quarter of the work, in which a network learns what is where."""
        return self.schedule.progress(step) < self.small

    @property
    def small(self) -> float:
        """The share of the training in which images are small: none where the model predicts coordinates, from a fixed size."""
        return self.config.small if self.model.plugin.output == "heatmap" else 0.0

    def start_from(self, weights: str) -> Taken:
        """Initialise the model and its average from `weights`; see `kptool.training.init.take`, also for the errors."""
        taken = take(self.model, weights)
        self.average.load_state_dict(self.model.state_dict())
        self.taken = taken.layers
        return taken

    def freeze(self) -> None:
        """In the first `config.freeze` epochs, freeze the layers in `taken`: their parameters get no gradient, and batch norm
        uses its running statistics and does not update them, so that these layers compute what they did before."""
        frozen = self.epoch < self.config.freeze
        modules = [self.model.get_submodule(name) for name in self.taken]
        parameters = [parameter for module in modules for parameter in module.parameters(recurse=False)]
        if bool(self._frozen) != bool(parameters and frozen) and self._recorder is not None:
            self._recorder.forget()
        self._frozen = parameters if frozen else []
        for module in modules:
            module.training = not frozen
        if self.workers.world == 1:  # DDP waits for the gradients of all parameters
            for parameter in parameters:
                parameter.requires_grad_(not frozen)

    def check_stop(self) -> None:
        """Raise Stopped after a signal; with several processes, after a signal to any, in all of them at the same step."""
        if self._stop is None:
            return
        if self.workers.world == 1:
            self._stop.check()
        elif self.step % self._check_interval == 0 and self.sums[1] > 0:
            raise Stopped(self._stop.number or signal.SIGTERM)

    def check_finite(self, *, whole: bool = False) -> None:
        """Raise DivergedError where a loss or gradient of this epoch, or with `whole` a weight, is not finite."""
        tensors = [self.sums]
        if whole:
            tensors += [*self.model.state_dict().values(), *self.average.state_dict().values()]
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise DivergedError(
                f"the training diverged in epoch {self.epoch + 1}, by step {self.step}: its numbers are no longer finite;"
                f" train with a lower lr (it was {self.config.lr:g}) or weight_decay ({self.config.weight_decay:g})"
            )

    def rate(self, step: int) -> float:
        """The learning rate of `step`."""
        return learning_rate(self.schedule.position(step), self.schedule.total, self.config)

    def measure_training(self, data: TrainingSet, *, offset: bool = True) -> None:
        """Measure the averaged weights on some training images: their RMSE, and with it the label `offset` (see
        `KeypointModel.measure_offset`), which weights that only know small images would get wrong."""
        if self._sample is None:
            self._sample = data.loaded(torch.linspace(0, len(data) - 1, min(len(data), _SAMPLE)).long())
        part = self._sample
        assert isinstance(part.images, Tensor)
        found = torch.cat(
            [self.average.points(images)[0] for images in torch.split(part.images, self.config.batch_size)]
        )
        found, before = found.to(self.device), self.average.offset.clone()
        if offset and self.config.offset and self.config.augment.flip:
            self.average.measure_offset(found, part.points, part.labelled)
            self.model.offset.copy_(self.average.offset)
        error = found - before + self.average.offset - part.points
        if part.linear is not None:
            error = error @ part.linear.mT
        squares = error.square().mean(-1)[part.labelled]
        self.train_rmse = float(squares.mean().sqrt()) if len(squares) else math.nan

    @torch.inference_mode()
    def validate(self, data: Split) -> tuple[Evaluation, float]:
        """Measure the averaged weights on the validation images; returns also their mean loss over labelled keypoints."""
        model, parts, total = self.average, [], 0.0
        for i, images in enumerate(blocks(data.images, _VALIDATION_BATCH)):
            part = np.s_[i * _VALIDATION_BATCH : (i + 1) * _VALIDATION_BATCH]
            pixels, points, labelled = (
                torch.from_numpy(array).to(self.device)
                for array in (images, data.truth.points[part], data.truth.labelled[part])
            )
            raw = model(pixels).float()
            parts.append(model.read(model.activate(raw)))
            each = self.targets.losses(model.loss, raw, Batch(pixels, points - model.offset, labelled))
            total += float(torch.where(labelled, each, 0.0).sum())
        found = Predictions(*(torch.cat(arrays).numpy() for arrays in zip(*parts, strict=True)))
        return compare(found, data.truth, model.config), total / max(1, int(data.truth.labelled.sum()))

    def train_step(self, batch: Batch | Pending, *, small: bool = False) -> Tensor:
        """One optimizer step, after the batch's augmentation if that is pending, and at half the size if `small`.

        Returns the loss of the whole batch, detached, or NaN where the gradient is not finite, which spoils the weights. The
        next step may overwrite it.
        """
        set_rate(self.optimizer, self.rate(self.step))
        self._decay.fill_(average_decay(self.step + 1, self.config))
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # for models with dropout
        pending = batch if isinstance(batch, Pending) else None

        def work(*parts: Tensor | None) -> Tensor:
            given = batch.of(parts)
            ready = given.augmented(self._noise) if isinstance(given, Pending) else given
            return self._update(ready.halved() if small else ready)

        if pending is not None:
            self._noise.manual_seed(pending.seed)
        if self._recorder is None:
            loss = work(*batch.parts)
        else:
            loss = self._recorder((pending and pending.augment, small), work, *batch.parts)
        self.step += 1
        return loss

    def _update(self, batch: Batch) -> Tensor:
        """The loss of a batch, after an update of the weights and their average.

        With several processes, the reduction of the loss also tells all of them whether one was asked to stop.
        """
        loss = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self._frozen:
            parameter.grad = None
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        on_cpu = self.device.type == "cpu"
        update_average(self.average, self.model, average_decay(self.step + 1, self.config) if on_cpu else self._decay)
        whole = torch.where(norm.isfinite(), loss.detach(), torch.nan)
        if self.workers.world > 1:  # `loss` is scaled by `world`
            asked = self._stop is not None and self._stop.number is not None
            both = torch.stack([whole / self.workers.world, whole.new_tensor(float(asked))])
            dist.all_reduce(both)
            whole, asked_too = both
            self.sums[1] += asked_too
        return whole

    def loss(self, batch: Batch) -> Tensor:
        """The mean loss over the keypoints of a batch that are labelled, or taught to be absent.

        With several processes, `batch` is this process's share, and its summed loss is divided by the keypoints of all
        shares and multiplied by `world`: DDP averages gradients over processes, which then gives the whole batch's.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            raw = self.network(batch.images)
        each = self.targets.losses(self.model.loss, raw.float(), batch)
        count = batch.learnt.sum()
        if self.workers.world > 1:
            dist.all_reduce(count)
        return torch.where(batch.learnt, each, 0.0).sum() * self.workers.world / count.clamp_min(1)
