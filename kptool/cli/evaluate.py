"""``kptool evaluate``: measure a model on a split of a cache: RMSE, NME, AUC, failure rate, PCK, RMSE by keypoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.api.arguments import DEFAULT_CACHE
from kptool.cli.options import CachePath, Device, Json, Plugin
from kptool.cli.output import emit, emit_json, wanted


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
    picture: Annotated[
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
    from kptool.api.evaluate import evaluate as call
    from kptool.report.tables import beside_mean_shape, metrics_table

    found = call(
        model,
        cache,
        split=split,
        ensemble=ensemble or (),
        decoder=decoder,
        tta=tta,
        picture=picture,
        device=device,
        progress=wanted(json),
    )
    if json:
        emit_json(found.to_dict())
        return
    baseline = found.mean_shape
    emit(
        metrics_table(
            found.metrics.to_dict(),
            f"{found.model}, {found.metrics.images} {split} images of {cache}",
            None if baseline is None else baseline.to_dict(),
        ),
        beside_mean_shape(found.rmse, None if baseline is None else baseline.rmse),
    )
