"""``kptool export``: export a trained model as one ONNX graph, from pixels to points, verified against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.api.arguments import DEFAULT_CACHE
from kptool.cli.options import AsLabelled, Json, Plugin
from kptool.cli.output import emit, emit_json


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
    from kptool.api.export import export as call
    from kptool.network.label_shift import POINTS

    result = call(model, out, cache=cache, half=half, as_labelled=as_labelled)
    if json:
        emit_json(result.to_dict())
        return
    done, shown = result.exported, result.compared
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
    if result.finder is not None:
        emit(
            f"wrote {result.finder.path}, the finder, whose {result.finder.boxes} boxes overlap torch's by"
            f" {result.finder.overlap:.4f} or more"
        )
