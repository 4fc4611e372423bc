"""``kptool export``: a trained model -> one ONNX graph, from pixels to points, that was compared with torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import DEFAULT_CACHE, AsLabelled, Json
from kptool.cli.output import emit, emit_json, note


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, a run folder, or a model.safetensors.")],
    out: Annotated[
        Path | None, typer.Option(help="The file to write; model.onnx in the run's folder.", show_default=False)
    ] = None,
    cache: Annotated[Path, typer.Option(help="Whose images the graph is compared with torch on.")] = DEFAULT_CACHE,
    half: Annotated[bool, typer.Option("--half", help="Store weights in float16: half the size.")] = False,
    as_labelled: AsLabelled = False,
    json: Json = False,
) -> None:
    """Write a model as an ONNX graph: uint8 images in, normalised, predicted and decoded inside, points out.

    The graph takes images of any size, many at a time, and answers in their pixels. It is compared with torch before
    it is written. Beside its weights, as model.onnx, `kptool predict` runs it in their place on the CPU.
    """
    from kptool import cards
    from kptool import export as exporting
    from kptool.shifts import POINTS

    exporting.require_packages()
    weights, origin = cards.resolve(model)
    note(f"kptool: exporting {origin}")
    target = out or (weights.with_suffix(".onnx") if "ship with" not in origin else Path(f"{weights.stem}.onnx"))
    images = exporting.read_images(cache, cards.read_card(weights).config) if cache.is_file() else None
    done = exporting.export(weights, target, images, half=half, as_labelled=as_labelled)
    on = (
        f"{done.images} images of {cache}"
        if images is not None
        else f"{done.images} random images, as there is no {cache}"
    )
    if json:
        emit_json(
            {
                "model": origin,
                "out": done.path,
                "points": done.points,
                "bytes": done.size,
                "images": done.images,
                "real_images": images is not None,
                "largest_difference": done.largest_difference,
                "largest_score_difference": done.largest_score_difference,
            }
        )
    else:
        emit(
            f"wrote {done.path}, its points {POINTS[done.points]}: {done.size / 1e6:.1f} MB; on {on} it is at most"
            f" {done.largest_difference:.2g} px from torch, scores {done.largest_score_difference:.2g}"
        )
