"""The state of a training, as last.ckpt stores it."""

from __future__ import annotations

import math
from typing import Any

import torch

from kptool.base.errors import CheckpointError
from kptool.network import cards
from kptool.training.optimizer import optimizer_state, restore_optimizer
from kptool.training.schedule import Schedule
from kptool.training.trainer import Trainer


def state_of(trainer: Trainer) -> dict[str, Any]:
    """All that resuming needs, as plain data; the keys are those of last.ckpt."""
    return {
        "schema": cards.SCHEMA,
        "detector": trainer.model.state_dict(),
        "average": trainer.average.state_dict(),
        "optimizer": optimizer_state(trainer.optimizer),
        "step": trainer.step,
        "epoch": trainer.epoch,
        "losses": float(trainer.sums[0]),
        "seconds": trainer.seconds,
        "part": trainer.part,
        "history": trainer.history,
        "best": trainer.best,
        "schedule": trainer.schedule.state(),
        "threads": torch.get_num_threads(),
        "taken": list(trainer.taken),
    }


def restore_state(trainer: Trainer, state: dict[str, Any]) -> None:
    """Continue from what `state_of` returned. Raises CheckpointError where it does not fit the model or is inconsistent."""
    try:
        trainer.model.load_state_dict(state["detector"])
        trainer.average.load_state_dict(state["average"])
        restore_optimizer(trainer.optimizer, state["optimizer"])
        trainer.step, trainer.epoch = int(state["step"]), int(state["epoch"])
        trainer.sums[0] = float(state["losses"])
        trainer.seconds, trainer.part = float(state["seconds"]), float(state.get("part", 0.0))
        trainer.history, trainer.best = list(state["history"]), dict(state.get("best", {}))
        if "schedule" in state:
            trainer.schedule = Schedule.restore(state["schedule"])
        trainer.taken = tuple(map(str, state.get("taken", ())))
        trainer.freeze()  # which looks every layer up
        _check_progress(trainer)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise CheckpointError(f"the training state does not fit the model ({str(error).splitlines()[0]})") from error


def _check_progress(trainer: Trainer) -> None:
    """Raise ValueError where the restored state is inconsistent, as in a damaged or foreign file."""
    numbers = [trainer.seconds, trainer.part, float(trainer.sums[0])]
    numbers += [float(row[key]) for row in trainer.history for key in ("epoch", "rmse", "train_seconds")]
    if not all(map(math.isfinite, numbers)) or len(trainer.history) != trainer.epoch:
        raise ValueError(f"its history is not one of {trainer.epoch} epochs with finite numbers")
    if not (0 <= trainer.epoch <= trainer.config.epochs and trainer.epoch <= trainer.step < 2**53):
        raise ValueError(f"epoch {trainer.epoch} and step {trainer.step} are out of range")
    for parameter, kept in trainer.optimizer.state.items():
        if any(value.ndim and value.shape != parameter.shape for value in kept.values()):
            raise ValueError("the optimizer's moments and the weights differ in shape")
