"""`kptool.train`: train one model or all on a cache, or each fold of it, into run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kptool import plugins
from kptool.api import bars
from kptool.api.arguments import DEFAULT_CACHE, PathLike, check_settings, optional_path, parse_duration, path_of
from kptool.api.result import remark
from kptool.api.train_result import TrainResult, trained
from kptool.base import recipes
from kptool.base.config import require
from kptool.base.errors import ConfigError
from kptool.network import cards
from kptool.network.cards import WEIGHTS
from kptool.network.finder_config import finder_beside
from kptool.system.files import write_bytes
from kptool.system.memory import parse_size
from kptool.system.progress import Progress

if TYPE_CHECKING:
    from kptool.training import run
    from kptool.training.loop import OnEpoch
    from kptool.training.split import Fold


@dataclass(frozen=True)
class _Plan:
    """What all trainings of one call have in common; `budget` is in seconds, for each of them. found: the finder that an
    earlier one of them trained."""

    cache: Path
    given: Mapping[str, object]
    device: str
    resume: bool
    init: str | None
    budget: float | None
    memory: int | None
    finder: bool
    found: Path | None
    log: tuple[str, ...]
    on_epoch: OnEpoch | None
    progress: bool | Progress | None


@dataclass(frozen=True)
class _Job:
    """One training, of which the folder is the run folder."""

    model: str
    folder: Path
    fold: Fold | None

    @property
    def begun(self) -> bool:
        """Whether there is a training to resume."""
        return (self.folder / "last.ckpt").exists()


def train(
    model: str | None = None,
    cache: PathLike = DEFAULT_CACHE,
    *,
    config: PathLike | None = None,
    out: PathLike | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    time: str | float | None = None,
    patience: int | None = None,
    device: str = "auto",
    memory: str | int | None = None,
    seed: int | None = None,
    cv: int | None = None,
    init: PathLike | None = None,
    freeze: int | None = None,
    resume: bool = False,
    force: bool = False,
    finder: bool = True,
    settings: Mapping[str, object] | None = None,
    log: Sequence[str] = (),
    on_epoch: OnEpoch | None = None,
    progress: bool | Progress | None = None,
) -> TrainResult:
    """Train a model on a cache, or "all" to compare them, as ``kptool train`` does, which explains the arguments.

    Writes the best weights, the training state, metrics.csv and curves.png into the run folder `out`, by default
    runs/MODEL. `settings` holds the settings of ``--set`` by name, such as ``{"width": 48, "augment.rotation": 10}``.
    `time` is a text such as "20m", or seconds; `memory`, for the images, one such as "8G", or bytes. `on_epoch` is called
    after each epoch with its row of metrics.csv, and ends the training by raising. `finder` False trains none; otherwise one
    is trained where the cache has whole pictures. `progress` False shows no bar. Raises ConfigError for invalid arguments or
    where `out` holds a run and neither `resume` nor `force` is set, CacheError for a damaged cache, CheckpointError where
    there is nothing to resume, `kptool.training.trainer.DivergedError` where a number is no longer finite.
    """
    recipe: dict[str, object] = {} if config is None else {**recipes.read(path_of(config))}
    named = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed, "patience": patience, "freeze": freeze}
    what, where = what_to_train(model, path_of(cache), recipe.pop("model", None), optional_path(config))
    given = {**recipe, **(settings or {}), **{key: value for key, value in named.items() if value is not None}}
    names = plugins.names("models") if what == "all" else (what,)
    for name in names:
        check_settings(name, given, device)
    require(cv is None or cv >= 2, f"--cv is a number of folds, at least 2; got {cv}")
    if init is not None and what == "all":
        raise ConfigError("--init takes the layers of one model's weights; name that model instead of all")
    folders = _folders(names, optional_path(out), together=what == "all")
    jobs = _jobs(folders, cv)
    budget = None if time is None else parse_duration(time) / len(jobs)
    start = None if init is None else str(init)
    room = None if memory is None else parse_size(memory)
    plan = _Plan(where, given, device, resume, start, budget, room, finder, None, tuple(log), on_epoch, progress)
    _check(jobs, plan, force)
    begun_any = any(job.begun for job in jobs)
    rows = []
    for job in jobs:
        # an interrupted series may not have reached the later ones
        begun = resume and (not begun_any or job.begun)
        if resume and not begun:
            remark(f"{job.folder} has no training to resume; starting it")
        rows.append(_train_one(job, plan, begun))
        own = finder_beside(job.folder / WEIGHTS)
        if what == "all" and plan.finder and own.is_file():  # one finder serves all models of a cache
            plan = replace(plan, finder=False, found=own)
        elif plan.found is not None and job.fold is None and rows[-1] is not None:
            write_bytes(own, plan.found.read_bytes())
    return trained([row for row in rows if row is not None], folders, cv, together=what == "all")


def what_to_train(model: str | None, cache: Path, named: object, config: Path | None) -> tuple[str, Path]:
    """Resolve the model and the cache. If `config` names the model, a single argument that is a file is the cache.

    `named` is the model named by `config`. Raises ConfigError if no model is given, or two that differ, since the values of
    a recipe are chosen for its model.
    """
    if model is not None and named is not None and (Path(model).is_file() or model.endswith((".h5", ".hdf5"))):
        cache, model = Path(model), None
    if model is None and named is None:
        which = (
            "add a MODEL: vgg, resnet, fcn, unet, or all" if config is None else f"{config} names no model; add a MODEL"
        )
        raise ConfigError(f"no model to train; {which}")
    if model is not None and named is not None and model != named:
        raise ConfigError(f"{config} is a recipe for {named}, not for {model}; omit MODEL, or use another recipe")
    return model or str(named), cache


def _folders(names: Sequence[str], out: Path | None, *, together: bool) -> dict[str, Path]:
    """The run folder of each model."""
    return {name: (out / name if together else out) if out else Path("runs") / name for name in names}


def _jobs(folders: Mapping[str, Path], cv: int | None) -> list[_Job]:
    """The trainings in order: every fold of the first model, then of the next."""
    parts: list[Fold | None] = [(i, cv) for i in range(cv)] if cv else [None]
    return [
        _Job(name, folder if part is None else folder / f"fold{part[0]}", part)
        for name, folder in folders.items()
        for part in parts
    ]


def _check(jobs: Sequence[_Job], plan: _Plan, force: bool) -> None:
    """Raise ConfigError for loggers that cannot log, and for folders that hold a run that may not be replaced."""
    if plan.log:
        from kptool.report import training_logs

        training_logs.check(plan.log)
    for job in jobs:
        _refuse_to_replace(job.folder, plan.resume, force)


def _refuse_to_replace(folder: Path, resume: bool, force: bool) -> None:
    """Raise ConfigError if a folder holds a run that may neither be replaced nor resumed."""
    if force or not (folder / "model.safetensors").exists():
        return
    if not resume:
        raise ConfigError(
            f"{folder} already holds a run; pass --resume to continue it, --force to replace it, or choose another --out"
        )
    if not (folder / "last.ckpt").exists():
        raise ConfigError(
            f"{folder} holds weights but no last.ckpt to resume from; pass --force instead to train again"
        )


def _train_one(job: _Job, plan: _Plan, resume: bool) -> run.Result | None:
    """Train one model, or one fold of it, and draw its curves. None in processes of torchrun's other than the first."""
    from kptool.base.config import configure
    from kptool.cache.store import Cache
    from kptool.training import run

    given = {**plugins.defaults(job.model), **_known_stem(job, plan, resume), **plan.given}
    with Cache(plan.cache) as opened:
        info = opened.info
        settings = configure(job.model, info.skeleton, info.size, info.channels, given)
    part = f", fold {job.fold[0] + 1} of {job.fold[1]}" if job.fold else ""
    remark(f"training {job.model} on {plan.cache}{part}")
    with _logged(job, plan) as logged, bars.showing(plan.progress) as bar:
        result = run.train(
            plan.cache,
            job.folder,
            *settings,
            device=plan.device,
            resume=resume,
            fold=job.fold,
            init=plan.init,
            budget=plan.budget,
            memory=plan.memory,
            finder=plan.finder,
            on_epoch=_both(logged, plan.on_epoch),
            progress=bar,
        )
    if not result.metrics:
        return None
    from kptool.report import charts, figures  # not before the first epoch, which Matplotlib's import would delay

    figures.save(charts.curves(job.folder), job.folder / "curves.png")
    return result


def _logged(job: _Job, plan: _Plan) -> AbstractContextManager[OnEpoch | None]:
    """What passes epochs to the chosen loggers; None without any."""
    if not plan.log:
        return nullcontext()
    from kptool.report import training_logs

    return training_logs.opened(plan.log, plan.cache, job.folder)


def _known_stem(job: _Job, plan: _Plan, resume: bool) -> dict[str, object]:
    """The halvings before the network of the weights that a training goes on from, which those of a recipe would not fit."""
    if resume and (job.folder / WEIGHTS).is_file():
        return {"stem": cards.read_card(job.folder / WEIGHTS).config.stem}
    if plan.init is not None and not resume:
        return {"stem": cards.read_card(cards.resolve(plan.init, warn=False)[0]).config.stem}
    return {}


def _both(first: OnEpoch | None, second: OnEpoch | None) -> OnEpoch | None:
    """A callback that calls both."""
    if first is None or second is None:
        return first or second

    def call(row: Mapping[str, Any]) -> None:
        first(row)
        second(row)

    return call
