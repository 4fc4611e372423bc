"""``kptool export``: export a trained model as one ONNX graph, from pixels to points, verified against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import DEFAULT_CACHE, AsLabelled, Json, Plugin
from kptool.cli.output import emit, emit_json, note


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, a run folder, or a model.safetensors.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The .onnx file to write; default: model.onnx in the run's folder.", show_default=False),
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="The cache whose images are used to compare the graph with torch.")
    ] = DEFAULT_CACHE,
    half: Annotated[bool, typer.Option("--half", help="Store weights in float16, half the size.")] = False,
    as_labelled: AsLabelled = False,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Export a model as an ONNX graph that takes images and returns keypoints.

    The graph takes batches of uint8 images of any size and includes letterboxing, normalisation and decoding; keypoints
    are in pixels of the images, as with `kptool predict --no-detect`. It is compared with torch before it is written.
    On the CPU, `kptool predict` uses a model.onnx beside the weights instead of torch.
    """
    from kptool.network import cards
    from kptool.network.label_shift import POINTS
    from kptool.predict import agreement
    from kptool.predict import export as exporting

    if out is not None:
        exporting.check_name(out)
    exporting.require_packages()
    weights, origin = cards.resolve(model)
    note(f"kptool: exporting {origin}")
    target = out or (weights.with_suffix(".onnx") if "ship with" not in origin else Path(f"{weights.stem}.onnx"))
    shown = agreement.pictures(cache, cards.read_card(weights).config)
    done = exporting.export(weights, target, shown.images, half=half, as_labelled=as_labelled)
    if json:
        emit_json(
            {
                "model": origin,
                "out": done.path,
                "points": done.points,
                "bytes": done.size,
                "images": done.images,
                "real_images": shown.real,
                "largest_difference": done.difference.points,
                "largest_score_difference": done.difference.scores,
                "aspects": done.difference.aspects,
                "half": None if done.half is None else dict(zip(("mean", "largest"), done.half, strict=True)),
            }
        )
        return
    emit(
        f"wrote {done.path} ({done.size / 1e6:.1f} MB), its points {POINTS[done.points]}; largest difference from torch on"
        f" {shown.what}, and on tall, wide, tiny and large pictures: points {done.difference.points:.2g} px, scores"
        f" {done.difference.scores:.2g}"
    )
    if done.half is not None:
        emit(
            f"half precision moves points by {done.half[0]:.2g} px on average, {done.half[1]:.2g} px at most, in images of"
            f" {shown.images.shape[-1]}x{shown.images.shape[-2]}, on {shown.what}"
        )
