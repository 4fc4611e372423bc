"""``kptool tune``: search a model's training settings on a cache with Optuna; an interrupted search can be continued."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kptool.api.arguments import DEFAULT_CACHE, check_settings, overrides, parse_duration
from kptool.cli.options import CachePath, Device, Json, Plugin, Seed
from kptool.cli.output import emit, emit_json, note, progress

if TYPE_CHECKING:
    from kptool.advise.study import Study, Trial

_SHOWN = ("lr", "loss", "width", "sigma")
"""The settings shown in the table of trials, which has to fit 80 columns."""
_PAGE_SECONDS = 60
"""Least time between two updates of the page while trials run; drawing it takes a second or two."""


def tune(
    model: Annotated[str, typer.Argument(help="vgg, resnet, fcn, or unet.", show_default=False)],
    cache: CachePath = DEFAULT_CACHE,
    trials: Annotated[int, typer.Option(min=1, help="Total number of trials, including those of earlier calls.")] = 20,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Stop after e.g. 90s, 30m or 2h, at the end of an epoch; the same command continues.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the search; default: runs/tune-MODEL.", show_default=False)
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Search this setting, e.g. lr; may be repeated. Default: lr, weight_decay, loss, width, sigma and the main"
            " augmentations, except those given with --set.",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(envvar="KPTOOL_EPOCHS", help="Epochs per trial; default: the recipe's.", show_default=False),
    ] = None,
    device: Device = "auto",
    seed: Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Fix a setting for all trials, e.g. width=16."),
    ] = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Search for settings that lower a model's validation RMSE on a cache; needs Optuna: pip install 'keypoint-toolkit[tune]'.

    Each trial is a run folder, OUT/trial-NNN. The same command continues a search that was stopped.
    """
    given = overrides(settings or [], epochs=epochs, seed=seed)
    seconds = None if time is None else parse_duration(time)
    from kptool.advise import journal

    journal.load_optuna()
    check_settings(model, given, device)
    from kptool.advise import tune as tuning

    out = out or Path("runs") / f"tune-{model}"

    drawn = monotonic()

    def after(study: Study, trial: Trial) -> None:
        nonlocal drawn
        if monotonic() - drawn >= _PAGE_SECONDS:
            _write_page(study, cache, out)
            drawn = monotonic()
        if not json:
            note(f"kptool: {_sentence(study, trial)} ({study.ended} of {trials})")

    with progress(quiet=json) as bar:
        study = tuning.tune(
            cache,
            out,
            model,
            given,
            trials=trials,
            seconds=seconds,
            only=search or (),
            device=device,
            progress=bar,
            on_trial=after,
        )
    _write_page(study, cache, out)
    if json:
        emit_json(_document(study, out, trials))
        return
    _print(study, out, trials)


def _sentence(study: Study, trial: Trial) -> str:
    """The outcome of a trial, and the best so far, in one line."""
    rmse = "" if trial.rmse is None else f", RMSE {trial.rmse:.3f} px"
    best = "" if study.best is None else f"; best so far {study.best.rmse:.3f} px, trial {study.best.number}"
    return f"trial {trial.number} {trial.state} after {trial.epochs} of {study.epochs} epochs{rmse}{best}"


def _write_page(study: Study, cache: Path, out: Path) -> None:
    import pandas as pd

    from kptool.advise.study import row
    from kptool.report import charts
    from kptool.report.search import Searched, write_page
    from kptool.system.files import write_text

    if not study.trials:
        return
    histories = {t.number: charts.read_history(t.folder) for t in study.trials if (t.folder / "metrics.csv").is_file()}
    page = Searched(
        study.model,
        str(cache),
        pd.DataFrame(map(row, study.trials)),
        [each.key for each in study.dimensions],
        [each.key for each in study.dimensions if each.log],
        histories,
        study.mean_shape_rmse,
        study.importances,
    )
    write_text(out / "tune.html", write_page(page))


def _document(study: Study, out: Path, trials: int) -> dict[str, Any]:
    best = study.best
    return {
        "model": study.model,
        "out": out,
        "finished": study.ended >= trials,
        "mean_shape_rmse": study.mean_shape_rmse,
        "searched": {each.key: str(each) for each in study.dimensions},
        "recipe": study.recipe,
        "best": best,
        "importances": study.importances,
        "trials": study.trials,
        "config": None if best is None else out / "best.toml",
        "csv": out / "trials.csv",
        "page": out / "tune.html",
    }


def _print(study: Study, out: Path, trials: int) -> None:
    """Print the trials with their main settings, then every searched setting of the best trial."""
    from rich.table import Table

    shown = [each for each in study.dimensions if each.key in _SHOWN]
    table = Table(title=f"{study.model}, best first; trial 0 is the recipe", box=None)
    for head in ("trial", "RMSE px", "epochs", "state", *(each.key for each in shown)):
        table.add_column(head, justify="left" if head in ("state", "loss") else "right")
    for trial in study.trials:
        rmse = "-" if trial.rmse is None else f"{trial.rmse:.3f}"
        values = (str(trial.settings.get(each.key, "-")) for each in shown)
        table.add_row(f"{trial.number}", rmse, f"{trial.epochs}", trial.state, *values)
    emit(table)
    if study.ended < trials:
        emit(f"{study.ended} of {trials} trials have ended; the same command continues")
    if study.best is None:
        emit("no trial is complete yet")
    else:
        _print_best(study, study.best, out)
    emit(f"wrote {out}/tune.html, {out}/trials.csv and a run for each trial")


def _print_best(study: Study, best: Trial, out: Path) -> None:
    from rich.table import Column, Table

    from kptool.report import tables

    searched = Column("searched", overflow="fold")
    table = Table("setting", "best", "recipe", searched, title=f"trial {best.number}, the best", box=None)
    for each in study.dimensions:
        table.add_row(each.key, str(best.settings[each.key]), str(each.recipe), str(each))
    emit(table)
    if best.rmse is not None:
        emit(tables.beside_mean_shape(best.rmse, study.mean_shape_rmse, f"trial {best.number}"))
    emit(
        f"wrote {out}/best.toml; train with `kptool train --config {out}/best.toml`. The RMSE above is optimistic, because"
        " it was selected on these images: measure it on others, or with --cv 5"
    )
