"""Hyperparameter search with Optuna: trials with different settings, each in a run folder of its own.

    cache + recipe -> trial 0 has the recipe's settings, the others the sampler's -> run folders -> trials.csv, best.toml

The sampler is multivariate TPE (Bergstra et al., NIPS 2011), seeded for each trial from the seed and the trial's number, so
an interrupted search draws the same settings as an uninterrupted one. The pruner is the median rule (Golovin et al., KDD
2017). With a few dozen trials, successive halving would decide too much by the first epochs, when the averaged weights still
lag behind and low learning rates look best.

Invariant: settings are in OUT/study.journal before they are trained with, and an epoch is in its run folder before it is
in the journal. So the search can be continued whenever the process ends.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from kptool.advise import journal
from kptool.advise.search_space import Value, read, space
from kptool.advise.study import BEST, TABLE, Study, Trial, best_first, write_recipe, write_table
from kptool.base.config import ModelConfig, TrainConfig, configure, require, to_dict
from kptool.base.errors import CheckpointError
from kptool.cache.store import Cache
from kptool.network import cards
from kptool.plugins import defaults
from kptool.system.files import locked, write_text
from kptool.system.progress import Progress, silent
from kptool.system.signals import Stopped
from kptool.system.workers import world_size
from kptool.training import run
from kptool.training.run_folder import HISTORY, changed
from kptool.training.split import Split, describe_data
from kptool.training.trainer import DivergedError

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

SETTINGS = "study.json"
_BEFORE_PRUNING, _WARM_UP = 5, 1 / 3
"""No pruning before this many trials are complete, nor in this share of a trial's epochs."""


class _PrunedError(Exception):
    """The pruner ends the trial."""


class _TimeUpError(Exception):
    """The time budget is used up."""


def tune(
    cache_path: Path,
    out: Path,
    model: str,
    given: Mapping[str, Any],
    *,
    trials: int = 20,
    seconds: float | None = None,
    only: Collection[str] = (),
    device: str = "auto",
    progress: Progress = silent,
    on_trial: Callable[[Study, Trial], None] = lambda study, trial: None,
) -> Study:
    """Search settings of `model` around its recipe, in the folder `out`; the `given` settings are fixed.

    Continues the search in `out`, if there is one, until `trials` have ended in total, or this call has taken `seconds`:
    the running trial is then stopped after its epoch. `on_trial` is called after each trial. Raises ConfigError if Optuna
    is missing or nothing can be searched, CheckpointError if `out` holds another search.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    require(trials >= 1, f"--trials must be at least 1; got {trials}")
    require(world_size() == 1, "tune runs in a single process; start it without torchrun or srun")
    journal.load_optuna()
    search = _Search(cache_path, out, model, given, only, device)
    with locked(out):
        search.open()
        try:
            while time.monotonic() < deadline and (trial := search.next_trial(trials)) is not None:
                search.train(trial, trials, deadline, progress)
                study = search.record()
                on_trial(study, next(each for each in study.trials if each.number == trial.number))
        except _TimeUpError:
            pass
        except Stopped as request:
            search.record()
            raise Stopped(request.number, f"{out} holds the search so far; the same command continues it") from None
        return search.record()


class _Search:
    """A study on disk and what its trials share."""

    def __init__(
        self, cache: Path, out: Path, model: str, given: Mapping[str, Any], only: Collection[str], device: str
    ) -> None:
        self.cache, self.out, self.device = cache, out, device
        with Cache(cache) as opened:
            self._info = opened.info
            require(len(opened.index("val")) > 0, f"{cache} has no validation images; extract again with --val 0.1")
            data = Split.load(opened, torch.device("cpu"), budget=0)  # only to describe it
            data.check(cache)
            described = describe_data(opened, data)
        self._given, self._baseline = dict(given), data.baseline_rmse
        self.network, self.config = self.configured(model, {})
        self.dimensions = space(self.network, self.config, fixed=given, only=only)
        self._settings = {
            "config": to_dict(self.network),
            "training": to_dict(self.config),
            "data": described,
            "search": {each.key: str(each) for each in self.dimensions},
        }
        self.study: optuna.Study

    def configured(self, model: str, settings: Mapping[str, Value]) -> tuple[ModelConfig, TrainConfig]:
        """The recipe with the given settings and `settings`."""
        info = self._info
        values = {**defaults(model), **self._given, **settings}
        return configure(model, info.skeleton, info.size, info.channels, values)

    def open(self) -> None:
        """Open the study in `out`, or create one with the recipe as its first trial."""
        _check_settings(self.out, self._settings)
        write_text(self.out / SETTINGS, json.dumps(self._settings, indent=1))
        warm_up = math.ceil(_WARM_UP * self.config.epochs)
        self.study = journal.open_study(self.out, startup_trials=_BEFORE_PRUNING, warmup_steps=warm_up)
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial({each.key: each.recipe for each in self.dimensions})
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.is_finished():  # left if the process ended after the journal entry
                self._state(trial.number).unlink(missing_ok=True)

    def next_trial(self, trials: int) -> optuna.Trial | None:
        """The interrupted trial, or a new one; None if `trials` have ended."""
        stopped = journal.running(self.study)
        ended = sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))
        if stopped is None and ended >= trials:
            return None
        number = ended if stopped is None else stopped
        return journal.trial(self.study, number, resume=stopped is not None, seed=self.config.seed)

    def train(self, trial: optuna.Trial, trials: int, deadline: float, progress: Progress) -> None:
        """Train a trial, or the rest of it, and record how it ended. Raises _TimeUpError after `deadline`."""
        chosen = {each.key: each.suggest(trial) for each in self.dimensions}
        network, config = self.configured(self.network.model, chosen)
        folder, report = self._folder(trial.number), _Reporter(trial, config.epochs, deadline)
        resume = self._state(trial.number).is_file()
        bar = _part_of(progress, f"trial {trial.number + 1}/{trials}")
        try:
            if resume:
                report.replay(folder / HISTORY)
            rmse = self._run(folder, network, config, resume, report, bar)
        except _PrunedError:
            journal.prune(self.study, trial)
        except (DivergedError, torch.OutOfMemoryError) as error:
            why = str(error).partition("\n")[0]
            log.warning("trial %d failed: %s", trial.number, why)
            journal.prune(self.study, trial, failed=why)
        else:
            self.study.tell(trial, rmse)
        self._state(trial.number).unlink(missing_ok=True)  # no longer needed, and three times the size of the weights

    def _run(
        self, folder: Path, model: ModelConfig, config: TrainConfig, resume: bool, report: _Reporter, bar: Progress
    ) -> float:
        """The lowest validation RMSE of a training, which starts over if its saved state is unreadable."""

        def train(resume: bool) -> run.Result:
            return run.train(
                self.cache, folder, model, config, device=self.device, resume=resume, on_epoch=report, progress=bar
            )

        try:
            result = train(resume)
        except CheckpointError as error:
            if not resume:
                raise
            log.warning("%s is trained again from the start: %s", folder, error)
            result = train(False)
        return float(result.metrics["rmse"])

    def record(self) -> Study:
        """Write trials.csv and, once a trial is complete, best.toml; returns the study so far."""
        trials = best_first(self._trial(each) for each in self.study.get_trials(deepcopy=False) if each.params)
        shares = journal.importances(self.study)
        study = Study(self.network.model, trials, self.dimensions, self.config.epochs, self._baseline, shares)
        write_table(self.out / TABLE, study)
        if study.best is not None:
            given = {key: read(key, self.network, self.config) for key in self._given}
            write_recipe(self.out / BEST, study, study.best, given)
        return study

    def _trial(self, frozen: optuna.trial.FrozenTrial) -> Trial:
        history = frozen.intermediate_values
        best = min(history, key=lambda epoch: history[epoch], default=None)
        return Trial(
            number=frozen.number,
            state=journal.state(frozen),
            rmse=None if best is None else history[best],
            best_epoch=best,
            epochs=len(history),
            seconds=float(frozen.user_attrs.get(journal.SECONDS, 0.0)),
            settings={d.key: d.rounded(frozen.params[d.key]) for d in self.dimensions if d.key in frozen.params},
            folder=self._folder(frozen.number),
        )

    def _folder(self, number: int) -> Path:
        return self.out / f"trial-{number:03}"

    def _state(self, number: int) -> Path:
        return self._folder(number) / cards.STATE


class _Reporter:
    """An `on_epoch` callback: reports the validation RMSE to the study and ends a training that is pruned or out of time."""

    def __init__(self, trial: optuna.Trial, epochs: int, deadline: float) -> None:
        self._trial, self._epochs, self._deadline = trial, epochs, deadline
        self._known = set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def __call__(self, row: Mapping[str, float]) -> None:
        self._enter(row)
        if row["epoch"] < self._epochs:
            if self._trial.should_prune():
                raise _PrunedError
            if time.monotonic() >= self._deadline:
                raise _TimeUpError

    def replay(self, history: Path) -> None:
        """Report epochs that the run folder has and the journal may lack; raises _PrunedError if the trial is to be pruned."""
        try:
            rows = pd.read_csv(history).astype({"epoch": int, "rmse": float, "seconds": float})
        except (OSError, ValueError, KeyError):  # at most the last epoch is missing from the journal
            return
        for epoch, rmse, seconds in zip(rows["epoch"], rows["rmse"], rows["seconds"], strict=True):
            self._enter({"epoch": epoch, "rmse": rmse, "seconds": seconds})
        if 0 < len(rows) < self._epochs and self._trial.should_prune():
            raise _PrunedError

    def _enter(self, row: Mapping[str, float]) -> None:
        if int(row["epoch"]) not in self._known:
            self._known.add(int(row["epoch"]))
            self._trial.report(float(f"{row['rmse']:.6g}"), int(row["epoch"]))  # the digits of metrics.csv
            self._trial.set_user_attr(journal.SECONDS, float(row["seconds"]))


def _part_of(progress: Progress, which: str) -> Progress:
    return lambda what, done, total: progress(f"{which}, {what}", done, total)


def _check_settings(out: Path, settings: Mapping[str, dict[str, Any]]) -> None:
    """Raise CheckpointError if `out` holds a search with other settings, data or ranges, or its settings are unreadable."""
    if not (out / journal.FILE).exists():
        return
    try:
        then = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
        other = [f"{part}: {key}" for part in settings for key in changed(part, then.get(part), settings[part])]
        other += [f"search: {key}" for key in set(then["search"]) - set(settings["search"])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{out / SETTINGS} cannot be read ({error}), so the search in {out} cannot be continued; choose another --out"
        ) from error
    if other:
        raise CheckpointError(
            f"{out} holds a search with other settings or data ({', '.join(sorted(other))}); repeat the original command,"
            " choose another --out, or remove it"
        )
