"""``kptool predict``: pictures -> keypoints, as a table, a csv, JSON, and pictures to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kptool.cli.options import Device, Json, ModelName
from kptool.cli.output import emit, emit_json, note, progress
from kptool.errors import ConfigError


def predict(
    pictures: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to look at.")],
    model: ModelName = "unet",
    out: Annotated[
        Path | None,
        typer.Option(help="A folder for pictures with their keypoints drawn, and keypoints.csv.", show_default=False),
    ] = None,
    detect: Annotated[
        bool,
        typer.Option(
            "--detect/--no-detect",
            help="--no-detect: the whole picture is the face. Finding faces is not part of this version.",
        ),
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print a csv, a row per keypoint.")] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average with the prediction of the mirrored picture.")] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Predict keypoints, in the pixels of the picture that was given; an integer is a pixel's centre."""
    if detect:
        raise ConfigError("this version does not find faces; crop the picture to one face and pass --no-detect")
    if csv and json:
        raise ConfigError("--csv and --json both want stdout; choose one")
    from kptool import images
    from kptool.predictor import Predictor

    predictor = Predictor(model, device)
    note(f"kptool: using {predictor.origin}")
    arrays = [images.read(path) for path in pictures]
    with progress(quiet=json) as bar:
        faces = predictor.predict_many(arrays, flip=tta, progress=bar)
    found = [
        predictor.describe(path, array.shape[:2], each)
        for path, array, each in zip(pictures, arrays, faces, strict=True)
    ]
    if out is not None:
        _draw(out, pictures, arrays, faces, predictor.names)
    if json:
        emit_json({"model": predictor.origin, "images": found})
    elif csv:
        emit("file,face,keypoint,x,y,score,radius90", *(",".join(map(str, row)) for row in _rows(found)))
    else:
        emit(*_tables(found))
        emit(*([f"wrote pictures to {out}/"] if out else []))


def _rows(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (image["file"], number, *("" if value is None else value for value in point.values()))
        for image in found
        for number, face in enumerate(image["faces"])
        for point in face["keypoints"]
    ]


def _tables(found: list[dict[str, Any]]) -> list[Any]:
    """A table for each face, under the picture's name."""
    from rich.table import Table

    tables = []
    for image in found:
        for number, face in enumerate(image["faces"]):
            title = image["file"] if len(image["faces"]) == 1 else f"{image['file']}, face {number}"
            table = Table("keypoint", title=title, title_justify="left")
            for head in ("x", "y", "score", "90 % within"):
                table.add_column(head, justify="right")
            for point in face["keypoints"]:
                within = "" if point["radius90"] is None else f"{point['radius90']:.2f} px"
                table.add_row(point["name"], f"{point['x']:.2f}", f"{point['y']:.2f}", f"{point['score']:.2f}", within)
            tables.append(table)
    return tables


def _draw(out: Path, pictures: list[Path], arrays: list[Any], faces: list[Any], names: tuple[str, ...]) -> None:
    from kptool import report

    for i, (path, array, each) in enumerate(zip(pictures, arrays, faces, strict=True)):
        twin = any(other.stem == path.stem for other in pictures[:i])
        name = f"{path.stem}-{i}.png" if twin else f"{path.stem}.png"
        report.save(report.overlay(array, each, names), out / name)
