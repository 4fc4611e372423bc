"""Run folders: writing one, restoring the run it held before, and checking whether a training may resume from it.

    OUT/model.safetensors, OUT/last.ckpt, OUT/metrics.csv    written after every epoch, each atomically
    OUT/config.toml                                          the settings, for `kptool train --config`
    OUT/train.log                                            a line per epoch, appended
    OUT/model.finder.safetensors                             where instances are, if there is something to find
    OUT/.kptool-before/                                      those of the previous run, until the new one is finished

Invariant: whenever the program ends, the folder holds complete weights, and no state that belongs to other weights.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kptool.base import recipes
from kptool.base.config import known_settings, model_from_dict, to_dict, train_from_dict
from kptool.base.errors import CheckpointError, KptoolError
from kptool.network import cards, checkpoint, provenance
from kptool.network.finder import Finder, save_finder
from kptool.network.finder_config import FinderConfig, finder_beside
from kptool.network.keypoint_model import KeypointModel
from kptool.system.files import write_text
from kptool.system.progress import EPOCHS

epoch_lines = logging.getLogger(EPOCHS)
"""Where the lines of train.log go as well, level INFO."""

HISTORY, CONFIG, LOG = "metrics.csv", "config.toml", "train.log"
FINDER = finder_beside(Path(cards.WEIGHTS)).name
_FILES = (cards.WEIGHTS, cards.STATE, HISTORY, CONFIG, LOG, FINDER)
_BEFORE = ".kptool-before"
_NOT_COMPARED = {"kptool", "category", "edges", "fill", cards.PRIOR}
RESUMABLE = ("epochs", "patience", "step")
"""Settings that may change when a training is resumed."""


class RunFolder:
    """The folder `out` of a training with `settings` (tables "config", "training", "data"); only one process writes to it.

    Before its first write, a new training backs up the run that is there; `finish` removes the backup, `roll_back`
    restores it. A `resumed` training continues the run that is there, and needs no backup.
    """

    def __init__(self, out: Path, settings: Mapping[str, dict[str, Any]], *, resumed: bool) -> None:
        self.out, self.settings, self._resumed = out, settings, resumed
        self._written = False
        self._lines: list[str] = []
        """of the log, until the first file is written"""
        self._logged = False

    def write_weights(self, model: KeypointModel, metrics: dict[str, Any]) -> None:
        """Write model.safetensors: the best weights so far, and their `metrics`."""
        self._back_up()
        origins = provenance.of(model.config)
        card = cards.Card(model.config, self.settings["training"], self.settings["data"], metrics, plugins=origins)
        checkpoint.save_weights(self.out / cards.WEIGHTS, model, card)

    def write_finder(self, finder: Finder, config: FinderConfig) -> None:
        """Write model.finder.safetensors."""
        self._back_up()
        save_finder(self.out / FINDER, finder, config)

    def write_history(self, history: Sequence[Mapping[str, float | None]]) -> None:
        """Write metrics.csv, a row for each epoch, its numbers rounded to six digits."""
        self._back_up()
        names = list(dict.fromkeys(name for row in history for name in row))
        rows = [names, *([_cell(row.get(name)) for name in names] for row in history)]
        write_text(self.out / HISTORY, "".join(f"{','.join(row)}\n" for row in rows))

    def write_config(self) -> None:
        """Write config.toml, with which `kptool train --config` repeats the run."""
        self._back_up()
        model, training = (dict(self.settings[part]) for part in ("config", "training"))
        augment = training.pop("augment")
        values = {key: model[key] for key in ("model", "width", "stem", "loss", "sigma", "decoder")} | training
        values |= {f"augment.{key}": value for key, value in augment.items()}
        start = self.settings["data"].get("init")
        option = "" if start is None else f", --init {' '.join(str(start.get('name')).split())}"
        remark = (
            f"The settings of this run; `kptool train --config` with this file{option} and the same cache repeats it."
        )
        meanings = {key: each.setting.meaning for key, each in known_settings().items()}
        rows = ((key, value, meanings.get(key, "")) for key, value in values.items())
        write_text(self.out / CONFIG, recipes.write(rows, [remark]))

    def log(self, line: str) -> None:
        """Append a line to train.log, and log it. Nothing is written before the first weights, history or state."""
        epoch_lines.info("%s", line)
        self._lines.append(line)
        if not self._written:
            return
        text, self._lines = "".join(f"{each}\n" for each in self._lines), []
        if self._resumed or self._logged:
            with (self.out / LOG).open("a", encoding="utf-8") as file:
                file.write(text)
        else:  # the file that is there may be that of the previous run, of which the backup is a hard link
            write_text(self.out / LOG, text)
        self._logged = True

    def write_state(self, state: dict[str, Any]) -> None:
        """Write last.ckpt, with the settings."""
        self._back_up()
        checkpoint.save_state(self.out / cards.STATE, {**state, **self.settings})

    def _back_up(self) -> None:
        """Before the first write: hard-link the files of the run that is there. A backup that exists already is kept: it is
        that of a finished run.

        The state is removed before weights are replaced, so that it cannot be resumed with other weights; so is the finder,
        which is trained last.
        """
        if self._written:
            return
        self._written = True
        if self._resumed:
            return
        before, making = self.out / _BEFORE, self.out / f"{_BEFORE}.tmp"
        if not before.exists() and (self.out / cards.WEIGHTS).is_file():
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            for name in _FILES:
                if (self.out / name).is_file():
                    _link(self.out / name, making / name)
            making.rename(before)
        for name in (cards.STATE, FINDER):
            (self.out / name).unlink(missing_ok=True)

    def roll_back(self) -> str:
        """Restore the previous run after a training that failed; returns what the folder holds now, in words."""
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
        return f"{self.out} keeps the epochs before" if self._written else f"{self.out} is as it was"

    def finish(self) -> None:
        """The run is complete: remove the backup of the previous one."""
        shutil.rmtree(self.out / _BEFORE, ignore_errors=True)


def _cell(value: float | None) -> str:
    """A number of metrics.csv; nothing where there is none."""
    if value is None or math.isnan(value):
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _link(file: Path, name: Path) -> None:
    """Hard-link `file` as `name`, or copy it where links are not supported; atomic writes replace files, never change them."""
    try:
        os.link(file, name)
    except OSError:
        shutil.copy2(file, name)


def load_state(out: Path, settings: Mapping[str, dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """The training state in `out`, and which of the settings that may change when a training is resumed have changed.

    Raises CheckpointError where it belongs to other settings, data or another split.
    """
    state, may = checkpoint.load_state(out / cards.STATE), []
    for part, now in settings.items():
        other = changed(part, state.get(part), now)
        may += [key for key in other if part == "training" and key in RESUMABLE]
        fixed = [key for key in other if key not in may]
        if fixed:
            raise CheckpointError(
                f"{out} was trained with another {part} ({', '.join(fixed)}); resume with the same command and the same"
                f" cache, of whose settings only {', '.join(RESUMABLE[:-1])} and {RESUMABLE[-1]} may change, or choose another"
                " --out"
            )
    if state.get("history") and not (out / cards.WEIGHTS).is_file():
        raise CheckpointError(
            f"{out} has a state without {cards.WEIGHTS}, the best weights so far; start without --resume"
        )
    return state, may


def changed(part: str, then: Any, now: Mapping[str, Any]) -> list[str]:
    """The keys whose values in the settings table `now` differ from those `then`, which were read from a file and may be
    anything.

    A setting that the writer of `then` did not know takes its default; kptool's version is not compared, nor are the words
    and lines for an instance and the place of its keypoints, which older releases did not store.
    """
    fill = {"config": lambda values: to_dict(model_from_dict(values)), "training": _training}.get(part, dict)
    new = json.loads(json.dumps(now))
    try:
        old = json.loads(json.dumps(fill(then)))
        if part == "data":
            old["mean_shape"] = _unlabelled_as_now(old["mean_shape"], new["mean_shape"])
    except (KptoolError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        old = {}
    return [key for key in new if key not in _NOT_COMPARED and (key not in old or old[key] != new[key])]


def _unlabelled_as_now(then: list[Any], now: list[Any]) -> list[Any]:
    """A mean shape `then`, with (0, 0), which older releases wrote for a keypoint without labels, as null where it is `now`."""
    return [b if b == [None, None] and a == [0.0, 0.0] else a for a, b in zip(then, now, strict=True)]


def _training(values: Any) -> dict[str, Any]:
    return to_dict(train_from_dict(values))
