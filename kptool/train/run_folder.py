"""A run's folder: what it holds, what of an earlier run stays in it, and whether a training may go on from it.

    OUT/model.safetensors, OUT/last.ckpt, OUT/metrics.csv    written after every epoch, each all or nothing
    OUT/.kptool-before/                                      those of a run that is being replaced, until it has been

Invariant: whenever the program ends, the folder holds whole weights, and no state that is of other weights than these.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kptool.base.config import model_from_dict, to_dict, train_from_dict
from kptool.base.errors import CheckpointError, KptoolError
from kptool.network import cards, checkpoint
from kptool.network.keypoint_model import KeypointModel
from kptool.system.files import atomic

HISTORY = "metrics.csv"
_FILES = (cards.WEIGHTS, cards.STATE, HISTORY)
_BEFORE = ".kptool-before"


class RunFolder:
    """The folder `out` of a training with `settings` (tables "config", "training", "data"), which only one process has.

    The first thing that a new training writes puts what is there already aside; `finish` removes that, `take_back` puts
    it in its place again. A training that was resumed (`goes_on`) is what is there.
    """

    def __init__(self, out: Path, settings: Mapping[str, dict[str, Any]], *, goes_on: bool) -> None:
        self.out, self.settings, self._goes_on = out, settings, goes_on
        self._begun = False

    def write_weights(self, model: KeypointModel, metrics: dict[str, Any]) -> None:
        """The best weights so far, and what they measured."""
        self._begin()
        card = cards.Card(model.config, self.settings["training"], self.settings["data"], metrics)
        checkpoint.save_weights(self.out / cards.WEIGHTS, model, card)

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        """metrics.csv, a row for each epoch."""
        self._begin()
        with atomic(self.out / HISTORY) as temporary:
            pd.DataFrame(history).to_csv(temporary, index=False)

    def write_state(self, state: dict[str, Any]) -> None:
        """last.ckpt, with the settings."""
        self._begin()
        checkpoint.save_state(self.out / cards.STATE, {**state, **self.settings})

    def _begin(self) -> None:
        """Before the first write: keep the run that is there, by second names of its files; one kept already is the older.

        What a resumption would go on from goes first, so that nobody goes on from the one with the other's weights.
        """
        if self._begun:
            return
        self._begun = True
        if self._goes_on:
            return
        before, making = self.out / _BEFORE, self.out / f"{_BEFORE}.tmp"
        if not before.exists() and (self.out / cards.WEIGHTS).is_file():
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            for name in _FILES:
                if (self.out / name).is_file():
                    _link(self.out / name, making / name)
            making.rename(before)
        (self.out / cards.STATE).unlink(missing_ok=True)

    def take_back(self) -> str:
        """Undo what a training that came to nothing has put in the place of another run; says what the folder holds."""
        before = self.out / _BEFORE
        if before.is_dir():
            for name in _FILES:
                if (before / name).is_file():
                    (before / name).replace(self.out / name)
                else:
                    (self.out / name).unlink(missing_ok=True)
            shutil.rmtree(before, ignore_errors=True)
            return f"{self.out} holds the run that it held before"
        if not (self.out / cards.WEIGHTS).is_file():
            with contextlib.suppress(OSError):
                self.out.rmdir()
            return "nothing was saved"
        return f"{self.out} keeps the epochs before" if self._begun else f"{self.out} is as it was"

    def finish(self) -> None:
        """The run is whole: what it has replaced may go."""
        shutil.rmtree(self.out / _BEFORE, ignore_errors=True)


def _link(file: Path, name: Path) -> None:
    """A second name for a file's contents, which writing all or nothing never changes; a copy where there are no links."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copy2(file, name)


def load_state(out: Path, settings: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The training state in `out`. Raises CheckpointError where it is of other settings, data or another split."""
    state = checkpoint.load_state(out / cards.STATE)
    for part, now in settings.items():
        other = changed(part, state.get(part), now)
        if other:
            raise CheckpointError(
                f"{out} was trained with another {part} ({', '.join(other)});"
                " resume with the same command and the same cache, or choose another --out"
            )
    if state.get("history") and not (out / cards.WEIGHTS).is_file():
        raise CheckpointError(f"{out} has lost its {cards.WEIGHTS}, the best so far; start without --resume")
    return state


def changed(part: str, then: Any, now: Mapping[str, Any]) -> list[str]:
    """The keys of the settings `now` that stood otherwise `then`, in what may be anybody's file.

    What this kptool knows and the one that wrote `then` did not, was as its default is; the version itself is no setting.
    """
    fill = {"config": lambda values: to_dict(model_from_dict(values)), "training": _training}.get(part, dict)
    new = json.loads(json.dumps(now))
    try:
        old = json.loads(json.dumps(fill(then)))
        if part == "data":
            old["mean_shape"] = _unlabelled_as_now(old["mean_shape"], new["mean_shape"])
    except (KptoolError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        old = {}
    return [key for key in new if key != "kptool" and (key not in old or old[key] != new[key])]


def _unlabelled_as_now(then: list[Any], now: list[Any]) -> list[Any]:
    """A mean shape in which (0, 0) may stand where no keypoint has a label, with null there as it is written `now`."""
    return [b if b == [None, None] and a == [0.0, 0.0] else a for a, b in zip(then, now, strict=True)]


def _training(values: Any) -> dict[str, Any]:
    return to_dict(train_from_dict(values))
