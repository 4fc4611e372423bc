"""``kptool show``: draw a cache or the predictions of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.api.arguments import DEFAULT_CACHE
from kptool.cli.options import Json, Plugin
from kptool.cli.output import emit, emit_json, note


def show(
    what: Annotated[
        str, typer.Argument(metavar="CACHE|RUN", help="A dataset.h5, or a run (folder, name or weights file).")
    ] = str(DEFAULT_CACHE),
    out: Annotated[
        Path, typer.Option(help="The picture to write; the others get a suffix, as in NAME-heatmaps.")
    ] = Path("picture.png"),
    cache: Annotated[
        Path, typer.Option(help="For a run: the cache whose validation images are drawn.")
    ] = DEFAULT_CACHE,
    count: Annotated[int, typer.Option(min=1, max=400, help="Number of images.")] = 16,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Draw the images of a cache, or the predictions of a run.

    For a cache: images with their keypoints, heatmaps, flip pairs, and whole pictures with boxes if it has some. For a run:
    predictions from best to worst, cumulative errors, and training curves.
    """
    is_cache = what.endswith((".h5", ".hdf5"))
    written = _show_cache(Path(what), out, count) if is_cache else _show_run(what, cache, out, count)
    if json:
        emit_json({"pictures": written})
    else:
        emit(*(f"wrote {path}" for path in written))


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.stem}-{ending}.png")


def _show_cache(path: Path, out: Path, count: int) -> list[Path]:
    from kptool.cache.store import Cache
    from kptool.report import figures, scene_figures

    with Cache(path) as cache:
        return [
            figures.save(figures.examples(cache, count), out),
            figures.save(figures.example_heatmaps(cache, count), _beside(out, "heatmaps")),
            figures.save(figures.flip_pairs(cache), _beside(out, "sides")),
            *([figures.save(scene_figures.scenes(cache), _beside(out, "scenes"))] if cache.scenes else []),
        ]


def _show_run(model: str, path: Path, out: Path, count: int) -> list[Path]:
    from kptool.cache.store import Cache
    from kptool.evaluation.evaluation import evaluate_cache, mean_shape_nme
    from kptool.network import cards, checkpoint
    from kptool.report import about, charts, figures

    weights, origin = cards.resolve(model, measuring=True)
    note(f"kptool: using {origin}")
    loaded, card = checkpoint.load_model(weights)
    with Cache(path) as cache:
        split = "val" if len(cache.index("val")) else "all"
        found = evaluate_cache([loaded], cache, split)
        words = about.run(card)
        written = [figures.save(figures.predictions(cache, split, found, count, words), out)]
        errors = charts.cumulative(
            {loaded.config.model: figures.per_image_nme(cache, split, found)},
            mean_shape_nme(cache, split),
            normaliser=found.metrics.normaliser,
            note=f"{words} {about.measured(cache, split)}",
        )
    written.append(figures.save(errors, _beside(out, "errors")))
    if (weights.parent / "metrics.csv").is_file():
        written.append(figures.save(charts.curves(weights.parent), _beside(out, "curves")))
    return written
