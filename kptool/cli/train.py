"""``kptool train``: train models on a cache into run folders with weights, history and curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kptool.api.arguments import DEFAULT_CACHE, check_settings, parse_duration
from kptool.base.errors import ConfigError
from kptool.cli.options import CachePath, Device, Json, Plugin, ranked
from kptool.cli.output import emit, emit_json, note, print_epochs, progress

if TYPE_CHECKING:
    from kptool.training.loop import OnEpoch
    from kptool.training.run import Result
    from kptool.training.split import Fold


def train(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            help="vgg, resnet, fcn, unet, or all; optional if --config names the model.", show_default=False
        ),
    ] = None,
    cache: CachePath = DEFAULT_CACHE,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A TOML file of settings, such as from `kptool recommend --out`; --set and other options override it.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/MODEL.", show_default=False)] = None,
    epochs: Annotated[
        int | None, typer.Option(envvar="KPTOOL_EPOCHS", help="Passes over the training images.", show_default=False)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(envvar="KPTOOL_BATCH_SIZE", help="Images per step.", show_default=False)
    ] = None,
    lr: Annotated[
        float | None, typer.Option(envvar="KPTOOL_LR", help="Peak learning rate.", show_default=False)
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Train as many of the epochs as fit, such as into 20m or 2h; several trainings share it.",
            show_default=False,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="End after this many epochs without a better validation RMSE.", show_default=False),
    ] = None,
    device: Device = "auto",
    seed: Annotated[
        int | None, typer.Option(envvar="KPTOOL_SEED", help="Random seed; default: 0.", show_default=False)
    ] = None,
    cv: Annotated[
        int | None,
        typer.Option(min=2, help="Cross-validate with this many folds, keeping groups intact.", show_default=False),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Start from the layers that fit of a run, a weights file, or a name such as unet.",
            show_default=False,
        ),
    ] = None,
    freeze: Annotated[
        int | None,
        typer.Option(metavar="N", help="Freeze the layers taken by --init for the first N epochs.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from OUT/last.ckpt.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any other setting, such as width=48; `kptool settings` lists them; repeatable.",
        ),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LOGGER",
            help="Log epochs and example predictions, with tensorboard or the logger of a plugin; repeatable.",
        ),
    ] = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Train a model on a cache, or all models to compare them.

    Writes the best weights, the training state, metrics of every epoch, and curves into the run folder.
    """
    from kptool import plugins
    from kptool.base import recipes
    from kptool.report import training_logs

    recipe: dict[str, object] = {} if config is None else {**recipes.read(config)}
    model, cache = _what_to_train(model, cache, recipe.pop("model", None), config)
    names = plugins.names("models") if model == "all" else (model,)
    given = ranked(
        context,
        recipe,
        settings or [],
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        patience=patience,
        freeze=freeze,
    )
    for name in names:
        check_settings(name, given, device)
    if init is not None and model == "all":
        raise ConfigError("--init takes the layers of one model's weights; name that model instead of all")
    folders = {name: (out / name if model == "all" else out) if out else Path("runs") / name for name in names}
    parts: list[Fold | None] = [(i, cv) for i in range(cv)] if cv else [None]
    runs = [
        (name, folders[name] if part is None else folders[name] / f"fold{part[0]}", part)
        for name in names
        for part in parts
    ]
    budget = None if time is None else parse_duration(time) / len(runs)
    training_logs.check(log or ())
    for _, folder, _ in runs:
        _refuse_to_replace(folder, resume, force)
    rows = []
    begun_any = any((folder / "last.ckpt").exists() for _, folder, _ in runs)
    for name, folder, part in runs:
        # an interrupted series may not have reached the later ones
        begun = resume and (not begun_any or (folder / "last.ckpt").exists())
        if resume and not begun:
            note(f"kptool: {folder} has no training to resume; starting it")
        with training_logs.opened(log or (), cache, folder) as on_epoch:
            rows.append(_train_one(name, cache, folder, given, device, begun, part, budget, init, on_epoch))
    finished = [row for row in rows if row]
    if not finished:  # under torchrun, only the first process reports
        return
    from kptool.training import results

    documents = [results.describe(each) for each in finished]
    if cv:
        documents = [results.over_folds(documents[i : i + cv]) for i in range(0, len(documents), cv)]
    if json:
        emit_json({"models": documents} if model == "all" else documents[0])
        return
    from kptool.report import tables

    if model == "all" or cv:
        emit(tables.comparison_table(documents))
    else:
        only = documents[0]
        where = "" if only["val"] else ", on the training images"
        title = f"{model}, best epoch {only['best_epoch']} of {only['epochs']}{where}"
        emit(tables.metrics_table(results.metrics(only), title, finished[0].mean_shape))
    emit(*dict.fromkeys(_beside_mean_shape(each) for each in documents))
    emit(*(f"wrote {folder}/" for folder in folders.values()))


def _what_to_train(model: str | None, cache: Path, named: object, config: Path | None) -> tuple[str, Path]:
    """Resolve the model and the cache. If --config names the model, a single argument that is a file is the cache.

    `named` is the model named by --config. Raises ConfigError if no model is given, or two that differ, since the values of
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


def _train_one(
    name: str,
    cache: Path,
    out: Path,
    given: dict[str, object],
    device: str,
    resume: bool,
    fold: Fold | None,
    budget: float | None,
    init: str | None,
    on_epoch: OnEpoch | None,
) -> Result | None:
    """Train one model, or one fold of it, and draw its curves. None in processes of torchrun's other than the first."""
    from kptool.base.config import configure
    from kptool.cache.store import Cache
    from kptool.plugins import defaults
    from kptool.report import charts, figures
    from kptool.training import run

    given = {**defaults(name), **given}
    with Cache(cache) as opened:
        info = opened.info
        settings = configure(name, info.skeleton, info.size, info.channels, given)
    note(f"kptool: training {name} on {cache}" + (f", fold {fold[0] + 1} of {fold[1]}" if fold else ""))
    print_epochs()
    with progress() as bar:
        result = run.train(
            cache,
            out,
            *settings,
            device=device,
            resume=resume,
            fold=fold,
            init=init,
            budget=budget,
            on_epoch=on_epoch,
            progress=bar,
        )
    if not result.metrics:
        return None
    figures.save(charts.curves(out), out / "curves.png")
    return result


def _beside_mean_shape(document: dict[str, Any]) -> str:
    from kptool.report import tables
    from kptool.training import results

    metrics = results.metrics(document)
    return tables.beside_mean_shape(metrics["rmse"], metrics.get("mean_shape_rmse"), document["model"])
