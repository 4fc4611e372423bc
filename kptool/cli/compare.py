"""``kptool compare``: compare kptool with dlib and MediaPipe on the same pictures, on one HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kptool.base.errors import ConfigError
from kptool.cli.options import Json, ModelName, Plugin
from kptool.cli.output import emit, emit_json, note, progress

if TYPE_CHECKING:
    from kptool.data.pictures import InputPicture


def compare(
    pictures: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Pictures, folders, or globs.")],
    others: Annotated[list[str] | None, typer.Option("--with", help="dlib or mediapipe; repeatable.")] = None,
    model: ModelName = "unet",
    out: Annotated[Path, typer.Option(help="The HTML page to write.")] = Path("compare.html"),
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Compare kptool with other toolkits on your pictures.

    The HTML page shows the faces found, the distances between the points, the time of each toolkit, and the worst cases.
    """
    from kptool.data import intensity
    from kptool.data import pictures as reading
    from kptool.predict.predictor import Predictor
    from kptool.report import compare as comparing
    from kptool.report import peers
    from kptool.system.files import write_text

    names = list(dict.fromkeys(others or []))
    if not names:
        raise ConfigError("say what to compare with: --with dlib, --with mediapipe, or both")
    for name in names:
        peers.known(name)
    wanted = reading.expand(pictures)
    predictor = Predictor(model, "cpu")
    note(f"kptool: using {predictor.origin}; {predictor.shift.sentence(False)}")
    failed: list[str] = []
    remarks: list[tuple[str, tuple[str, ...]]] = []
    with progress(quiet=json) as bar:
        some = _readable(reading.collect_remarks(reading.read(wanted), remarks), failed)
        tallies, cases = comparing.compare(predictor, some, names, total=len(wanted), progress=bar)
    for text in (*intensity.remark_notes(remarks), *failed):
        note(f"kptool: {text}")
    rows = [tally.describe() for tally in tallies]
    count = len(tallies[0].milliseconds)
    about = f"{predictor.origin}, whose {predictor.shift.sentence(False)}"
    write_text(out, comparing.write_page(tallies, cases, count, about))
    if json:
        emit_json(
            {
                "model": predictor.origin,
                "points": predictor.points,
                "labels": predictor.shift.describe(),
                "pictures": count,
                "page": out,
                "toolkits": rows,
            }
        )
    else:
        for row in rows:
            mean = row["mean_distance"]
            apart = "" if mean is None else f", mean distance {mean:.1%} of the interocular distance"
            emit(f"{row['name']}: {row['faces']} faces, {row['median_ms']:.1f} ms per picture{apart}")
        emit(f"wrote {out}")
    if failed:
        raise typer.Exit(2)


def _readable(pictures: Iterator[InputPicture], failed: list[str]) -> Iterator[InputPicture]:
    """The pictures that could be read; the errors of the others are appended to `failed`."""
    for picture in pictures:
        if picture.pixels is None:
            failed.append(" ".join(picture.error.split()))
        else:
            yield picture
