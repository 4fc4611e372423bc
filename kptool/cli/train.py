"""``kptool train``: a cache -> a run folder with weights, history and curves; ``train all`` compares the four."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kptool.cli.options import DEFAULT_CACHE, CachePath, Device, Json, Seed, overrides
from kptool.cli.output import emit, emit_json, note, progress
from kptool.errors import ConfigError

if TYPE_CHECKING:
    from kptool.engine import Result


def train(
    model: Annotated[str, typer.Argument(help="vgg, resnet, fcn, unet, or all.")],
    cache: CachePath = DEFAULT_CACHE,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; runs/MODEL without it.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.", show_default=False)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.", show_default=False)] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.", show_default=False)] = None,
    device: Device = "auto",
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from OUT/last.ckpt.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a run that is already there.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, e.g. width=48 or loss=dsnt."),
    ] = None,
    json: Json = False,
) -> None:
    """Train a model on a cache; with `all`, the four of them, compared."""
    from kptool import plugins

    names = plugins.names("models") if model == "all" else (model,)
    given = overrides(settings or [], epochs=epochs, batch_size=batch_size, lr=lr, seed=seed)
    folders = {name: (out / name if model == "all" else out) if out else Path("runs") / name for name in names}
    for folder in folders.values():
        _refuse_to_replace(folder, resume, force)
    rows = [_train_one(name, cache, folders[name], given, device, resume, quiet=json) for name in names]
    if rows[0] is None:  # a process of torchrun's other than the first
        return
    if json:
        emit_json({"models": rows} if model == "all" else rows[0])
        return
    from kptool import report

    if model == "all":
        emit(report.comparison_table([row for row in rows if row]))
    else:
        emit(
            report.metrics_table(rows[0]["val"], f"{model}, best epoch {rows[0]['best_epoch']} of {rows[0]['epochs']}")
        )
    emit(*(f"wrote {folder}/" for folder in folders.values()))


def _refuse_to_replace(folder: Path, resume: bool, force: bool) -> None:
    if (folder / "model.safetensors").exists() and not resume and not force:
        raise ConfigError(
            f"{folder} already holds a run; pass --resume to continue it, --force to replace it, or choose another --out"
        )


def _train_one(
    name: str, cache: Path, out: Path, given: dict[str, object], device: str, resume: bool, *, quiet: bool
) -> dict[str, Any] | None:
    from kptool import engine, report
    from kptool.cache import Cache
    from kptool.config import configure
    from kptool.plugins import load_model

    given = {"width": load_model(name).default_width, **given}
    with Cache(cache) as opened:
        info = opened.info
        settings = configure(name, info.skeleton, info.size, info.channels, given)
        if not quiet:
            note(f"kptool: training {name} on {len(opened.index('train'))} images of {cache}")
    with progress(quiet) as bar:
        result = engine.train(cache, out, *settings, device=device, resume=resume, progress=bar)
    if not result.metrics:
        return None
    report.save(report.curves(out), out / "curves.png")
    return _document(result)


def _document(result: Result) -> dict[str, Any]:
    return {
        "model": result.model,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "val": result.metrics,
        "checkpoint": str(result.checkpoint),
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
        "parameters": result.parameters,
    }
