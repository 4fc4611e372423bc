"""``kptool train``: train models on a cache into run folders with weights, history and curves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.api.arguments import DEFAULT_CACHE
from kptool.cli.options import CachePath, Device, Json, Plugin, ranked
from kptool.cli.output import emit, emit_json, print_epochs, wanted


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
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            envvar="KPTOOL_MEMORY",
            help="Memory for the images, such as 8G; default: half of what is free. Images that do not fit are read from the"
            " cache during training, with the same result.",
            show_default=False,
        ),
    ] = None,
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
    finder: Annotated[
        bool,
        typer.Option(
            "--finder/--no-finder",
            help="Also train a finder of instances, if the cache has whole pictures to find them in.",
        ),
    ] = True,
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
    from kptool.api.train import train as call
    from kptool.api.train import what_to_train
    from kptool.base import recipes

    recipe: dict[str, object] = {} if config is None else {**recipes.read(config)}
    model, cache = what_to_train(model, cache, recipe.pop("model", None), config)
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
    print_epochs()
    done = call(
        model,
        cache,
        out=out,
        time=time,
        device=device,
        memory=memory,
        cv=cv,
        init=init,
        resume=resume,
        force=force,
        finder=finder,
        settings=given,
        log=log or (),
        progress=wanted(),
    )
    if not done.runs:  # under torchrun, only the first process reports
        return
    if json:
        emit_json(done.to_dict())
        return
    from kptool.report import tables

    if len(done.runs) > 1:
        emit(tables.comparison_table(done.documents))
    else:
        emit(tables.metrics_table(done.metrics, done.title, done.best.mean_shape))
    emit(*done.notes)
    emit(*(f"wrote {folder}/" for folder in done.folders))
