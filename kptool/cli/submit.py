"""``kptool submit``: Kaggle's test pictures and lookup table -> submission.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import Device, Json, ModelName
from kptool.cli.output import emit, emit_json, note, progress


def submit(
    test: Annotated[Path, typer.Argument(help="test.csv, test.zip, or the competition's whole zip.")],
    lookup: Annotated[Path, typer.Argument(help="IdLookupTable.csv.")],
    model: ModelName = "unet",
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("submission.csv"),
    tta: Annotated[
        bool, typer.Option("--tta/--no-tta", help="Average with the prediction of the mirrored picture.")
    ] = True,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Write Kaggle's RowId,Location, one row for each that the lookup table asks for."""
    from kptool import cards, checkpoint, devices, submission

    path, origin = cards.resolve(model)
    note(f"kptool: using {origin}")
    detector, _ = checkpoint.load_detector(path, devices.pick(device))
    with progress(quiet=json) as bar:
        counts = submission.submit(detector, test, lookup, out, flip=tta, progress=bar)
    if json:
        emit_json({"model": origin, "submission": out, **counts})
    else:
        emit(f"wrote {out}: {counts['rows']} rows for {counts['images']} pictures")
