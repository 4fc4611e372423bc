"""``kptool convert``: convert labels from one format to another, with their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import Category, Images, Json, Plugin
from kptool.cli.output import emit, emit_json, note, progress


def convert(
    source: Annotated[
        Path, typer.Argument(help="Labels of any format that `kptool extract` reads, or what `predict --json` printed.")
    ],
    out: Annotated[Path, typer.Option(help="Output folder, a new one.")],
    to: Annotated[str, typer.Option(help="Output format: coco, yolo, csv, label-studio, cvat, deeplabcut or labelme.")],
    images: Images = None,
    category: Category = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Convert labels to another format.

    Pictures are copied into the output folder. The source is not changed. Predictions become predictions again in Label
    Studio, CVAT and COCO, so that people can correct them.
    """
    from kptool.data import convert as library
    from kptool.data.sources import Opening

    with progress(quiet=json) as report:
        done = library.convert(source, out, to, Opening(images, category), progress=report)
    for text in done.notes:
        note(f"kptool: {text}")
    if json:
        emit_json(done)
    else:
        emit(
            f"{source}: {done.things} instances with {done.keypoints} labelled keypoints in {done.pictures} pictures;"
            f" {done.flip_note}",
            f"wrote {done.file}",
        )
