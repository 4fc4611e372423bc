"""Small searches for settings, and trainings that only pretend to train."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from kptool.advise import tune
from kptool.advise.study import Study, Trial
from kptool.base.errors import CheckpointError
from kptool.network import cards
from kptool.training import run

GIVEN = {"width": 2, "epochs": 2, "batch_size": 8, "seed": 3}
Curve = Callable[[float, int], float]


def search(cache: Path, out: Path, **options: Any) -> Study:
    options = {"trials": 2, "only": ["lr", "loss"], "device": "cpu"} | options
    return tune.tune(cache, out, "unet", options.pop("given", GIVEN), **options)


def found(study: Study) -> list[Trial]:
    """The trials without what differs between runs."""
    return [dataclasses.replace(trial, seconds=0.0, folder=Path()) for trial in study.trials]


def invent(monkeypatch: pytest.MonkeyPatch, curve: Curve) -> list[tuple[str, bool]]:
    """Replace training: the RMSE of an epoch is `curve(lr, epoch)`, and run folders are written as in a real training.

    Returns the list of calls, as (folder's name, resume).
    """
    calls: list[tuple[str, bool]] = []

    def train(cache: Path, out: Path, model: Any, config: Any, *, resume: bool, **options: Any) -> Any:
        calls.append((out.name, resume))
        state = out / cards.STATE
        if resume and not state.read_bytes():
            raise CheckpointError("last.ckpt is damaged")
        out.mkdir(exist_ok=True)
        rows = json.loads(state.read_bytes()) if resume else []
        for epoch in range(len(rows) + 1, config.epochs + 1):
            options["progress"](f"epoch {epoch}", epoch, config.epochs)
            rows.append({"epoch": epoch, "rmse": curve(config.lr, epoch), "seconds": float(epoch)})
            pd.DataFrame(rows).to_csv(out / "metrics.csv", index=False)
            state.write_text(json.dumps(rows))
            options["on_epoch"](rows[-1])
        best = min(row["rmse"] for row in rows)
        return SimpleNamespace(metrics={"rmse": best})

    monkeypatch.setattr(run, "train", train)
    return calls


def slope(lr: float, epoch: int) -> float:
    """An error that falls with the epochs and is lowest for low learning rates."""
    return 100 * lr + 1 / epoch


def killed_at(call: int) -> Callable[[str, int, int | None], None]:
    """A progress callback that raises at its n-th call, as if the process were killed."""
    calls = iter(range(1, 1000))

    def progress(what: str, done: int, total: int | None) -> None:
        if next(calls) == call:
            raise MemoryError

    return progress
