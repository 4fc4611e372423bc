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
        Path | None, typer.Option(help="The .onnx file to write; model.onnx in the run's folder.", show_default=False)
    ] = None,
    cache: Annotated[Path, typer.Option(help="Whose images the graph is compared with torch on.")] = DEFAULT_CACHE,
    half: Annotated[bool, typer.Option("--half", help="Store weights in float16: half the size.")] = False,
    as_labelled: AsLabelled = False,
    json: Json = False,
) -> None:
    """Write a model as an ONNX graph: uint8 images in, normalised, predicted and decoded inside, points out.

    The graph takes images of any size, many at a time, looks at the whole of each with its aspect kept, and answers in
    their pixels, as `kptool predict --no-detect` does. It is compared with torch before it is written. Beside its
    weights, as model.onnx, `kptool predict` runs it in their place on the CPU.
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
        f"wrote {done.path}, its points {POINTS[done.points]}: {done.size / 1e6:.1f} MB; on {shown.what}, and on tall, wide,"
        f" tiny and large pictures, it is at most {done.difference.points:.2g} px from torch, scores {done.difference.scores:.2g}"
    )
    if done.half is not None:
        emit(
            f"half precision moves points by {done.half[0]:.2g} px on average and {done.half[1]:.2g} px at most, of images"
            f" {shown.images.shape[-1]}x{shown.images.shape[-2]}, on {shown.what}"
        )
