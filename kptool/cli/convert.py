"""``kptool convert``: labels of one format -> another, with their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import Category, Images, Json
from kptool.cli.output import emit, emit_json, note, progress


def convert(
    source: Annotated[Path, typer.Argument(help="Labels of any format that `kptool extract` reads.")],
    out: Annotated[Path, typer.Option(help="The new folder to write to.")],
    to: Annotated[str, typer.Option(help="coco, yolo or csv.")],
    images: Images = None,
    category: Category = None,
    json: Json = False,
) -> None:
    """Write labels in another format, beside copies of their pictures. Changes nothing that is there."""
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
            f"{source}: {done.things} things with {done.keypoints} labelled keypoints in {done.pictures} pictures;"
            f" {done.flip_note}",
            f"wrote {done.file}",
        )
