"""``kptool learn-curve``: how much more data would help, and which pictures to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kptool.base.errors import ConfigError
from kptool.cli.options import DEFAULT_CACHE, CachePath, Device, Json, Seed, check_settings, overrides
from kptool.cli.output import emit, emit_json, note, progress

if TYPE_CHECKING:
    from kptool.advise.learn_curve import Point
    from kptool.advise.suggest import Suggestion
    from kptool.cache.store import Cache
    from kptool.data.pictures import InputPicture


def learn_curve(
    cache: CachePath = DEFAULT_CACHE,
    model: Annotated[str, typer.Option(help="vgg, resnet, fcn, or unet.")] = "unet",
    sizes: Annotated[int, typer.Option(min=1, max=20, help="How many parts of the training images.")] = 5,
    repeats: Annotated[
        int, typer.Option(min=1, max=20, help="How often each size is drawn and trained, with other seeds.")
    ] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Steps of every training, large or small.")] = 300,
    more: Annotated[
        list[int] | None,
        typer.Option(help="How many more images to tell of; may be repeated. A quarter, as many, thrice without it."),
    ] = None,
    suggest: Annotated[
        int | None,
        typer.Option(min=1, help="Name so many pictures of --pool to label next.", show_default=False),
    ] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(help="Pictures without labels: a folder, a file, or a glob in quotes; may be repeated."),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(help="Ask this model instead of measuring a curve; may be repeated, more models know better."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of the points and models.")] = Path("runs/learn-curve"),
    plot: Annotated[Path | None, typer.Option(help="Draw the curve as a PNG.", show_default=False)] = None,
    device: Device = "auto",
    seed: Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting of `kptool train`, e.g. width=16."),
    ] = None,
    json: Json = False,
) -> None:
    """Train on growing parts of the training images and tell what more images would bring; name pictures to label next.

    Parts are of whole groups. What is finished is kept in OUT/learn-curve.csv: the same command continues.
    """
    if bool(suggest) != bool(pool):
        raise ConfigError("--suggest N and --pool PICTURES go together: how many of which pictures to label next")
    if run and not suggest:
        raise ConfigError("--run names models for --suggest; give --suggest N and --pool PICTURES, too")
    check_settings(model, overrides(settings or [], seed=seed), device)
    from kptool.cache.store import Cache
    from kptool.data import pictures

    waiting = pictures.expand(pool or [])
    document: dict[str, Any] = {"cache": cache}
    failed: list[InputPicture] = []
    with Cache(cache) as opened:
        if not run:
            given = overrides(settings or [], seed=seed)
            document |= _curve(opened, out, model, given, sizes, repeats, steps, more, device, json)
            _print_curve(document, plot, out, quiet=json)
        if suggest:
            models = run or [str(out / f"full-{number}") for number in range(repeats)]
            found, failed = _suggest(opened, waiting, models, suggest, device, json)
            document |= found
            _print_suggestions(document, quiet=json)
    for picture in failed:
        note(f"kptool: {' '.join(picture.error.split())}")
    if json:
        emit_json({key: value for key, value in document.items() if key != "fitted"})
    if failed:
        raise typer.Exit(2)


def _curve(
    cache: Cache,
    out: Path,
    model: str,
    given: dict[str, object],
    sizes: int,
    repeats: int,
    steps: int,
    more: list[int] | None,
    device: str,
    quiet: bool,
) -> dict[str, Any]:
    """Measure what is missing, and say what it tells."""
    from kptool.advise import learn_curve, powerlaw
    from kptool.base.config import configure
    from kptool.plugins import load_model

    info, count = cache.info, len(cache.index("train"))
    for wanted in more or []:
        powerlaw.check_reach(count, wanted)
    given = {"width": load_model(model).default_width, **given}
    configs = configure(model, info.skeleton, info.size, info.channels, given)
    if not quiet:
        note(
            f"kptool: training {model} on {cache.path} and on parts of it, up to {sizes * repeats} times {steps} steps"
        )
    with progress(quiet) as bar:
        points = learn_curve.measure(
            cache, out, *configs, sizes=sizes, repeats=repeats, steps=steps, device=device, progress=bar
        )
    law = learn_curve.fitted(points)
    asked = more or sorted({max(1, count // 4), count, 3 * count})
    forecasts = [] if law is None else [law.forecast(number) for number in asked]
    return {
        "model": model,
        "steps": steps,
        "points": points,
        "fit": None if law is None else law.law,
        "verdict": "too few sizes" if law is None else law.verdict,
        "more": forecasts,
        "says": learn_curve.words(points, law, forecasts),
        "csv": out / learn_curve.POINTS,
        "fitted": law,
    }


def _print_curve(document: dict[str, Any], plot: Path | None, out: Path, *, quiet: bool) -> None:
    """The points as a table and what they tell, for people; the picture, where one is wanted."""
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
    """The pictures that models name, and how that was done; and those that cannot be read."""
    import numpy as np

    from kptool.advise import suggest as suggesting
    from kptool.data import intensity, pictures
    from kptool.evaluate import evaluation
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
            "kptool: the labelled images are cut out of their pictures, and the pool's are taken whole, which these models"
            " never saw; give a pool of pictures that are cut out likewise"
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
        f"each of {len(names)} pictures, taken whole, was looked at {suggesting.LOOKS} times by each of {len(models)}"
        f" models; these stand for most of what the looks disagree on, {len(cache)} labelled images left out"
    )
    return {"models": origins, "how": how, "suggest": chosen}, failed


def _print_suggestions(document: dict[str, Any], *, quiet: bool) -> None:
    """The pictures to label next, for people, and how they were found."""
    if not quiet:
        chosen: list[Suggestion] = document["suggest"]
        emit(document["how"])
        found = "how far predictions lie apart, as a share of the side, and the picture:"
        emit(found if chosen else "none: those pictures are among the labelled already")
        emit(*(f"{each.disagreement:7.2%}  {each.file}" for each in chosen))
