"""The results of a search: its trials, and the files trials.csv and best.toml."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from kptool.advise.search_space import Dimension, Value
from kptool.base import recipes
from kptool.system.files import atomic, write_text

TABLE, BEST = "trials.csv", "best.toml"
STATES = ("complete", "pruned", "stopped", "failed")
"""Listed in this order."""


@dataclass(frozen=True)
class Trial:
    """One trial: a training with its settings.

    state: "complete", "pruned" (RMSE above the median of the others), "failed" (diverged or out of memory) or "stopped"
    (to be continued). rmse: the lowest validation RMSE so far, in source pixels, at `best_epoch`; both None before the
    first epoch. seconds: training time.
    """

    number: int
    state: str
    rmse: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    settings: dict[str, Value]
    folder: Path


@dataclass(frozen=True)
class Study:
    """The trials so far, best first, and the searched dimensions.

    epochs: of a complete trial. mean_shape_rmse: the RMSE of predicting the training images' mean shape, for comparison.
    importances: each setting's share, largest first, see `kptool.advise.journal.importances`; empty with too few trials.
    """

    model: str
    trials: tuple[Trial, ...]
    dimensions: tuple[Dimension, ...]
    epochs: int
    mean_shape_rmse: float | None
    importances: dict[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Trial | None:
        """The complete trial with the lowest RMSE."""
        return next((trial for trial in self.trials if trial.state == "complete"), None)

    @property
    def recipe(self) -> Trial | None:
        """Trial 0, which has the recipe's settings, once it has started."""
        return next((trial for trial in self.trials if trial.number == 0), None)

    @property
    def ended(self) -> int:
        """The number of trials that are not to be continued."""
        return sum(trial.state != "stopped" for trial in self.trials)


def row(trial: Trial) -> dict[str, Any]:
    """A trial as a row of trials.csv."""
    head = {"trial": trial.number, "state": trial.state, "rmse": trial.rmse, "best_epoch": trial.best_epoch}
    return {**head, "epochs": trial.epochs, "seconds": round(trial.seconds, 2), **trial.settings}


def best_first(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Sort trials by state, then by RMSE."""

    def rank(trial: Trial) -> tuple[int, float, int]:
        return STATES.index(trial.state), math.inf if trial.rmse is None else trial.rmse, trial.number

    return tuple(sorted(trials, key=rank))


def write_table(path: Path, study: Study) -> None:
    """Write trials.csv, best first."""
    table = pd.DataFrame(map(row, study.trials))
    if len(table):
        table = table.astype({"best_epoch": "Int64"}).round({"rmse": 4})
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)


def write_recipe(path: Path, study: Study, best: Trial, given: Mapping[str, Value]) -> None:
    """Write a trial's settings and the `given` ones, which were fixed, as a recipe for ``train --config``."""
    settings: list[tuple[str, Value, str]] = [
        ("model", study.model, "the model of the search"),
        *((d.key, best.settings[d.key], f"searched: {d}; the recipe has {d.recipe}") for d in study.dimensions),
        *((key, value, "fixed for the search") for key, value in given.items()),
    ]
    complete = sum(trial.state == "complete" for trial in study.trials)
    remarks = [
        f"The best of {study.ended} trials of `kptool tune` ({complete} complete): trial {best.number}, RMSE"
        f" {best.rmse:.3f} px on the validation images.",
        "This RMSE is optimistic, because the trial was selected on these images. Measure it on others, or with `kptool train"
        " --config FILE --cv 5`.",
    ]
    write_text(path, recipes.write(settings, remarks))
