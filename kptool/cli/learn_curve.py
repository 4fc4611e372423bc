"""``kptool learn-curve``: estimate the benefit of more training images, and suggest pictures to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kptool.api.arguments import DEFAULT_CACHE, check_settings, overrides
from kptool.base.errors import ConfigError
from kptool.cli.options import CachePath, Device, Json, Plugin, Seed
from kptool.cli.output import complain, emit, emit_json, note, progress

if TYPE_CHECKING:
    from kptool.advise.learn_curve import Plan, Point
    from kptool.advise.suggest import Suggestion
    from kptool.cache.store import Cache
    from kptool.data.pictures import InputPicture


def learn_curve(
    cache: CachePath = DEFAULT_CACHE,
    model: Annotated[str, typer.Option(help="vgg, resnet, fcn, or unet.")] = "unet",
    sizes: Annotated[int, typer.Option(min=1, max=20, help="Number of subset sizes of the training images.")] = 5,
    repeats: Annotated[
        int, typer.Option(min=1, max=20, help="Trainings per size, each with its own subset and seed.")
    ] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Training steps, the same for every size.")] = 300,
    more: Annotated[
        list[int] | None,
        typer.Option(
            help="Forecast the error with this many more images; repeatable. Default: 25 %, 100 % and 300 % more."
        ),
    ] = None,
    suggest: Annotated[
        int | None,
        typer.Option(min=1, help="Suggest this many pictures of --pool to label next.", show_default=False),
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(help="Unlabelled pictures: a folder, a file, or a quoted glob; repeatable."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            help="Suggest pictures with this model instead of measuring a curve; repeatable, several work better."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the measured points and models.")] = Path("runs/learn-curve"),
    plot: Annotated[Path | None, typer.Option(help="Draw the curve (PNG).", show_default=False)] = None,
    device: Device = "auto",
    seed: Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting of `kptool train`, such as width=16; repeatable."),
    ] = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Estimate how much more training images would help.

    Trains on growing subsets of the training images, keeping groups intact, and extrapolates the error. With --suggest, also
    names the unlabelled pictures that are most worth labelling. Finished trainings are kept in OUT/learn-curve.csv, so the
    same command continues an interrupted one.
    """
    if bool(suggest) != bool(pool):
        raise ConfigError("--suggest N and --pool PICTURES go together: how many pictures to suggest, and from which")
    if run and not suggest:
        raise ConfigError("--run names models for --suggest; also give --suggest N and --pool PICTURES")
    check_settings(model, overrides(settings or [], seed=seed), device)
    from kptool.cache.store import Cache
    from kptool.data import pictures

    waiting = pictures.expand(pool or [])
    document: dict[str, Any] = {"cache": cache}
    failed: list[InputPicture] = []
    with Cache(cache) as opened:
        if not run:
            from kptool.advise.learn_curve import Plan

            given = overrides(settings or [], seed=seed)
            plan = Plan(sizes, repeats, steps)
            document |= _curve(opened, out, model, given, plan, more=more, device=device, quiet=json)
            _print_curve(document, plot, out, quiet=json)
        if suggest:
            models = run or [str(out / f"full-{number}") for number in range(repeats)]
            found, failed = _suggest(opened, waiting, models, suggest, device, json)
            document |= found
            _print_suggestions(document, quiet=json)
    for picture in failed:
        complain(f"kptool: {' '.join(picture.error.split())}")
    if json:
        emit_json({key: value for key, value in document.items() if key != "fitted"})
    if failed:
        raise typer.Exit(2)


def _curve(
    cache: Cache,
    out: Path,
    model: str,
    given: dict[str, object],
    plan: Plan,
    *,
    more: list[int] | None,
    device: str,
    quiet: bool,
) -> dict[str, Any]:
    """Measure the missing points of the curve that `plan` lays out, and fit it."""
    from kptool.advise import learn_curve, powerlaw
    from kptool.base.config import configure
    from kptool.plugins import defaults

    info, count = cache.info, len(cache.index("train"))
    for wanted in more or []:
        powerlaw.check_reach(count, wanted)
    given = {**defaults(model), **given}
    configs = configure(model, info.skeleton, info.size, info.channels, given)
    if not quiet:
        most = plan.sizes * plan.repeats
        note(f"kptool: training {model} on {cache.path} and on subsets of it, up to {most} times {plan.steps} steps")
    with progress(quiet) as bar:
        points = learn_curve.measure(cache, out, *configs, plan, device=device, progress=bar)
    law = learn_curve.fitted(points)
    asked = more or sorted({max(1, count // 4), count, 3 * count})
    forecasts = [] if law is None else [law.forecast(number) for number in asked]
    return {
        "model": model,
        "steps": plan.steps,
        "points": points,
        "fit": None if law is None else law.law,
        "verdict": "too few sizes" if law is None else law.verdict,
        "more": forecasts,
        "says": learn_curve.words(points, law, forecasts),
        "csv": out / learn_curve.POINTS,
        "fitted": law,
    }


def _print_curve(document: dict[str, Any], plot: Path | None, out: Path, *, quiet: bool) -> None:
    """Print the points and the conclusions, unless `quiet`; draw the curve if `plot` is given."""
    from rich.table import Table

    from kptool.advise import learn_curve
    from kptool.report import figures

    points: list[Point] = document["points"]
    if plot is not None:
        document["picture"] = figures.save(learn_curve.figure(points, document["fitted"]), plot)
    if quiet:
        return
    table = Table(title=f"{document['model']}, {document['steps']} steps, on the validation images")
    for head in ("images", "groups", "repeat", "RMSE px", "NME"):
        table.add_column(head, justify="right")
    for p in points:
        table.add_row(f"{p.images}", f"{p.groups}", f"{p.repeat}", f"{p.rmse:.3f}", f"{p.nme:.2%}")
    emit(table, *document["says"], *(f"wrote {path}" for path in (f"{out}/", plot) if path is not None))


def _suggest(
    cache: Cache, waiting: list[str], models: list[str], count: int, device: str, quiet: bool
) -> tuple[dict[str, Any], list[InputPicture]]:
    """The suggested pictures and a description of the method; and the pictures that cannot be read."""
    import numpy as np

    from kptool.advise import suggest as suggesting
    from kptool.data import intensity, pictures
    from kptool.evaluation import evaluation
    from kptool.network import cards, checkpoint
    from kptool.system import devices

    found = [cards.resolve(model, measuring=True) for model in models]
    origins = [origin for _, origin in found]
    note(f"kptool: using {', '.join(origins)}")
    loaded = [checkpoint.load_model(path, devices.pick(device))[0] for path, _ in found]
    info = cache.info
    for origin, model in zip(origins, loaded, strict=True):
        evaluation.require_fit(model.config, cache, origin)
    if info.margin is not None:
        note(
            "kptool: the labelled images are crops, but the pool's pictures are used whole, unlike anything these models were"
            " trained on; give a pool of similarly cropped pictures"
        )
    remarks: list[tuple[str, tuple[str, ...]]] = []
    heard = pictures.collect_remarks(pictures.read(waiting), remarks)
    names, pool, failed = suggesting.read(heard, info.size, info.channels)
    for text in intensity.remark_notes(remarks):
        note(f"kptool: {text}")
    with progress(quiet) as bar:
        learnt = np.asarray((cache.read("visibility", cache.index("train")) > 0).any(0))
        seen = cache.read("images")
        chosen = suggesting.suggest(names, pool, seen, loaded, count, learnt=learnt, progress=bar)
    how = (
        f"each of {len(names)} pictures, used whole, was predicted in {suggesting.VARIANTS} variants by each of {len(models)}"
        f" models; the suggestions represent the pictures with the largest disagreement, excluding the {len(cache)} labelled"
        " images"
    )
    return {"models": origins, "how": how, "suggest": chosen}, failed


def _print_suggestions(document: dict[str, Any], *, quiet: bool) -> None:
    """Print the suggested pictures and the method, unless `quiet`."""
    if not quiet:
        chosen: list[Suggestion] = document["suggest"]
        emit(document["how"])
        head = "disagreement of the predictions, as a fraction of the image's size, and the picture:"
        emit(head if chosen else "none: all these pictures are labelled already")
        emit(*(f"{each.disagreement:7.2%}  {each.file}" for each in chosen))
