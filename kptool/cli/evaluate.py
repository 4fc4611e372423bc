"""``kptool evaluate``: measure a model on a split of a cache (RMSE, NME, AUC, failure rate, PCK), or on whole pictures (mAP)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kptool.api.arguments import DEFAULT_CACHE
from kptool.cli.options import Category, Device, Images, Json, Plugin
from kptool.cli.output import emit, emit_json, wanted

if TYPE_CHECKING:
    from kptool.api.evaluate import EvaluateResult
    from kptool.api.evaluate_pictures import PicturesResult


def evaluate(
    model: Annotated[str, typer.Argument(help="A name, a run folder, or a model.safetensors.")],
    cache: Annotated[
        Path,
        typer.Argument(
            metavar="CACHE|LABELS",
            envvar="KPTOOL_CACHE",
            help="A dataset.h5 written by `kptool extract`, or labels of any format that it reads.",
        ),
    ] = DEFAULT_CACHE,
    split: Annotated[
        str | None,
        typer.Option(
            help="val, train or all; default: val of a cache, all of labels. Of labels, val are the pictures that the model was"
            " not trained on.",
            show_default=False,
        ),
    ] = None,
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
    images: Images = None,
    category: Category = None,
    sigmas: Annotated[
        str | None,
        typer.Option(
            metavar="S|FILE|estimate",
            help="Sigmas of OKS: a number such as 1/11, a json or csv by keypoint, or the spread of this model's errors;"
            " default: COCO's for its keypoints, else 0.067.",
            show_default=False,
        ),
    ] = None,
    area_of_box: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="An instance's area as a share of its box; default: as labelled, else 0.53.",
            show_default=False,
        ),
    ] = None,
    score: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Least score of the instances that precision, recall, PCK and distance are about.",
            show_default=False,
        ),
    ] = None,
    oks: Annotated[float, typer.Option(help="OKS from which on a prediction is a labelled instance's.")] = 0.5,
    detect: Annotated[
        bool | None,
        typer.Option("--detect/--no-detect", help="Find instances, or treat every picture as one.", show_default=False),
    ] = None,
    coco: Annotated[
        Path | None,
        typer.Option(help="Write the predictions as COCO results, with the image ids of LABELS.", show_default=False),
    ] = None,
    device: Device = "auto",
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Measure a model on labelled images.

    On a cache, every image is one instance. On labels of whole pictures, instances are found as `predict` finds them, and
    compared by COCO's evaluation of keypoints. Points are compared as labelled, i.e. without the correction of the labels'
    offset that `predict` applies.
    """
    from kptool.api.evaluate import EvaluateResult as Crops
    from kptool.api.evaluate import evaluate as call

    found = call(
        model,
        cache,
        split=split,
        ensemble=ensemble or (),
        decoder=decoder,
        tta=tta,
        picture=picture,
        images=images,
        category=category,
        sigmas=sigmas,
        area_of_box=area_of_box,
        score=score,
        oks=oks,
        detect=detect,
        coco=coco,
        device=device,
        progress=wanted(json),
    )
    if json:
        emit_json(found.to_dict())
    elif isinstance(found, Crops):
        _emit_crops(found)
    else:
        _emit_pictures(found)


def _emit_crops(found: EvaluateResult) -> None:
    from kptool.report.tables import beside_mean_shape, metrics_table

    baseline = found.mean_shape
    emit(
        metrics_table(
            found.metrics.to_dict(),
            f"{found.model}, {found.metrics.images} {found.split} images of {found.cache}",
            None if baseline is None else baseline.to_dict(),
            found.checks(),
        ),
        beside_mean_shape(found.rmse, None if baseline is None else baseline.rmse),
    )


def _emit_pictures(found: PicturesResult) -> None:
    from kptool.report.instance_tables import instance_tables

    metrics = found.instances
    title = f"{found.model}, {metrics.instances} instances in {len(found.files)} pictures of {found.labels}"
    written = [] if found.options.coco is None else [f"wrote {found.options.coco}"]
    about = f"sigmas: {found.sigmas_from}; areas: {found.area_from}"
    emit(*instance_tables(found.to_dict(), title), about, *written)
