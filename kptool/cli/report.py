"""``kptool report``: compare runs on one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.api.arguments import DEFAULT_CACHE, check_split
from kptool.cli.options import Json, Plugin
from kptool.cli.output import emit, emit_json, progress


def report(
    models: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names, run folders, or weights files.")],
    cache: Annotated[Path, typer.Option(help="The cache to measure on.")] = DEFAULT_CACHE,
    out: Annotated[Path, typer.Option(help="The HTML page to write.")] = Path("report.html"),
    split: Annotated[str, typer.Option(help="val, train or all.")] = "val",
    tta: Annotated[bool, typer.Option("--tta", help="Average with the prediction for the mirrored image.")] = False,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Compare runs on one HTML page.

    Contains tables of metrics, cumulative errors, training curves, and the best and worst images.
    """
    check_split(split)
    from kptool.cache.store import Cache
    from kptool.report.runs import measure_all, write_page
    from kptool.system.files import write_text

    with Cache(cache) as opened, progress(quiet=json) as bar:
        measured = measure_all(models, opened, split=split, flip=tta, progress=bar)
        write_text(out, write_page(measured, opened, split, flip=tta))
    if json:
        rows = [
            {"model": each.model, **each.evaluation.metrics.to_dict(), "rmse_interval95": each.intervals.rmse}
            for each in measured
        ]
        emit_json({"page": str(out), "models": rows})
        return
    emit(f"wrote {out}")
