"""``kptool doctor``: what looks wrong in a cache; exit code 1 where anything does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kptool.cli.options import DEFAULT_CACHE, CachePath, Json
from kptool.cli.output import emit, emit_json, note, progress


def doctor(
    cache: CachePath = DEFAULT_CACHE,
    run: Annotated[
        str | None,
        typer.Option(
            help="Judge labels by this run: of `kptool train --cv`, whose folds say something of every image, or any"
            " other, of its validation images. Without it, by a linear model that is made on the spot.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page of pictures.", show_default=False)] = None,
    patch: Annotated[
        Path | None,
        typer.Option(
            help="Write a proposal of corrections, to edit and give to `extract --patch`.", show_default=False
        ),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="How many findings to print of each check; --json prints all.")] = 10,
    json: Json = False,
) -> None:
    """Look for wrong labels, swapped sides, empty and repeated images, and near-duplicates across the split.

    Changes nothing that is there.
    """
    from collections import Counter

    from kptool.cache import Cache
    from kptool.doctor import examine, proposals
    from kptool.files import write_text
    from kptool.patches import to_text

    with Cache(cache) as opened, progress(quiet=json) as bar:
        found, images = None, len(opened)
        if run is not None:
            from kptool.checkup import unseen_predictions

            found, judged = unseen_predictions(run, opened, bar)
            if judged < images:
                note(f"kptool: {run} tells about {judged} of {images} images, those it was not trained on")
        findings, suspicion = examine(opened, found, bar)
        if html is not None:
            from kptool.checkup import write_page

            write_text(html, write_page(findings, opened))
        if patch is not None:
            write_text(patch, to_text(proposals(findings, opened), opened.info.names))
        rows = opened.read("row")
    counts = Counter(finding.check for finding in findings)
    written = [path for path in (html, patch) if path is not None]
    if json:
        first = [int(rows[sample]) for sample in suspicion.ranking()[:100]]
        emit_json(
            {
                "cache": cache,
                "images": images,
                "counts": counts,
                "findings": findings,
                "suspects": first,
                "wrote": written,
            }
        )
    else:
        emit(f"{cache}: {images} images, {len(findings)} findings")
        for check, count in counts.items():
            some = [f for f in findings if f.check == check][:show]
            emit(f"{check}: {count}", *(f"  sample {f.sample} (row {f.row}): {f.detail}" for f in some))
        emit(*(f"wrote {path}" for path in written))
    if findings:
        raise typer.Exit(1)
