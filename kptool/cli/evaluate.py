"""``kptool evaluate``: measure a model on a split of a cache: RMSE, NME, AUC, failure rate, PCK, RMSE by keypoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import DEFAULT_CACHE, CachePath, Device, Json, Plugin, check_split
from kptool.cli.output import emit, emit_json, note, progress


def evaluate(
    model: Annotated[str, typer.Argument(help="A name, a run folder, or a model.safetensors.")],
    cache: CachePath = DEFAULT_CACHE,
    split: Annotated[str, typer.Option(help="val, train or all.")] = "val",
    ensemble: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Average the predictions with this model's; repeatable."),
    ] = None,
    decoder: Annotated[
        str | None, typer.Option(help="Decode heatmaps with another decoder than the model's own.", show_default=False)
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average with the prediction for the mirrored image.")] = False,
    pictures: Annotated[
        Path | None,
        typer.Option("--picture", help="Draw images from best to worst into this PNG.", show_default=False),
    ] = None,
    device: Device = "auto",
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Measure a model on labelled images.

    Points are compared as labelled, i.e. without the correction of the labels' offset that `predict` applies.
    """
    check_split(split)
    from kptool import plugins
    from kptool.cache.store import Cache
    from kptool.evaluation.evaluation import evaluate_cache, mean_shape_baseline, trained_on
    from kptool.network import cards, checkpoint
    from kptool.network.keypoint_model import Inference
    from kptool.network.label_shift import AS_LABELLED
    from kptool.system import devices

    if decoder is not None:
        plugins.load_decoder(decoder)
    place = devices.pick(device)
    sources = [cards.resolve(name, measuring=True) for name in (model, *(ensemble or []))]
    origin = " + ".join(words for _, words in sources)
    note(f"kptool: using {origin}")
    loaded = [checkpoint.load_model(path, place) for path, _ in sources]
    with Cache(cache) as opened, progress(quiet=json) as bar:
        models = [model for model, _ in loaded]
        found = evaluate_cache(models, opened, split, Inference(tta, decoder), progress=bar)
        baseline = mean_shape_baseline(opened, split)
        seen = max(trained_on(card.data, opened, split) for _, card in loaded)
        if seen:
            note(f"kptool: {seen} of these images were used for training, so the metrics are too optimistic")
        if pictures is not None:
            from kptool.report import figures

            figures.save(figures.predictions(opened, split, found), pictures)
    if json:
        emit_json(
            {
                "model": origin,
                "points": AS_LABELLED,
                "split": split,
                "trained_on": seen,
                **found.metrics.to_dict(),
                "mean_shape": None if baseline is None else {"rmse": baseline.rmse, "nme": baseline.nme},
            }
        )
        return
    from kptool.report.tables import beside_mean_shape, metrics_table

    emit(
        metrics_table(
            found.metrics.to_dict(),
            f"{origin}, {found.metrics.images} {split} images of {cache}",
            None if baseline is None else baseline.to_dict(),
        ),
        beside_mean_shape(found.metrics.rmse, None if baseline is None else baseline.rmse),
    )
