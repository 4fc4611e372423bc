"""``kptool doctor``: what looks wrong in a cache; exit code 1 where anything does."""

from __future__ import annotations

from typing import Annotated

import typer

from kptool.cli.options import DEFAULT_CACHE, CachePath, Json
from kptool.cli.output import emit, emit_json, progress


def doctor(
    cache: CachePath = DEFAULT_CACHE,
    show: Annotated[int, typer.Option(min=0, help="How many findings to print of each check; --json prints all.")] = 10,
    json: Json = False,
) -> None:
    """Look for points outside, swapped sides, empty images, and near-duplicates across the split. Changes nothing."""
    from collections import Counter

    from kptool.cache import Cache
    from kptool.doctor import examine

    with Cache(cache) as opened, progress(quiet=json) as bar:
        findings = examine(opened, bar)
        images = len(opened)
    counts = Counter(finding.check for finding in findings)
    if json:
        emit_json({"cache": cache, "images": images, "counts": counts, "findings": findings})
    else:
        emit(f"{cache}: {images} images, {len(findings)} findings")
        for check, count in counts.items():
            some = [f for f in findings if f.check == check][:show]
            emit(f"{check}: {count}", *(f"  sample {f.sample} (row {f.row}): {f.detail}" for f in some))
    if findings:
        raise typer.Exit(1)
