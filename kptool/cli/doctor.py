"""``kptool doctor``: what looks wrong in a cache; exit code 1 where anything certainly is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kptool.cli.options import DEFAULT_CACHE, CachePath, Json
from kptool.cli.output import emit, emit_json, note, progress

if TYPE_CHECKING:
    from kptool.doctor.examine import Agreement, Finding


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
    groups: Annotated[
        Path | None,
        typer.Option(
            help="A csv with columns row,group of people or videos, to compare near-duplicates with; else the cache's.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="How many findings to print of each check; --json prints all.")] = 10,
    json: Json = False,
) -> None:
    """Look for wrong labels, swapped sides, empty and repeated images, and near-duplicates across the split.

    Changes nothing that is there. Exit code 1 where anything is wrong; pictures that merely look alike, and keypoints that
    nobody labelled, are said and are no reason for it.
    """
    from collections import Counter

    from kptool.cache.store import Cache
    from kptool.data.patches import to_text
    from kptool.data.splits import groups_of, read_groups
    from kptool.doctor.examine import examine, proposals
    from kptool.system.files import write_text

    with Cache(cache) as opened, progress(quiet=json) as bar:
        found, images = None, len(opened)
        unlabelled = opened.never_labelled()
        notes = [] if unlabelled is None else [unlabelled]
        if run is not None:
            from kptool.evaluate.out_of_fold import out_of_fold

            found, judged = out_of_fold(run, opened, bar)
            if judged < images:
                notes.append(f"{run} tells about {judged} of {images} images, those it was not trained on")
        for text in notes:
            note(f"kptool: {text}")
        rows = opened.read("row")
        known = None if groups is None else groups_of(read_groups(groups), rows, groups)
        done = examine(opened, found, bar, known)
        findings, agreement = done.findings, done.agreement
        if html is not None:
            from kptool.doctor.page import write_page

            write_text(html, write_page(done, opened))
        if patch is not None:
            write_text(patch, to_text(proposals(findings, opened), opened.info.names))
    counts = Counter(finding.check for finding in findings)
    written = [path for path in (html, patch) if path is not None]
    if json:
        first = [int(rows[sample]) for sample in done.suspicion.ranking()[:100]]
        emit_json(
            {
                "cache": cache,
                "images": images,
                "counts": counts,
                "findings": findings,
                "suspects": first,
                "near_duplicates": agreement,
                "alike_from": done.threshold,
                "certain": done.certain,
                "wrote": written,
                "notes": notes,
            }
        )
    else:
        emit(f"{cache}: {images} images, {len(findings)} finding{'s' * (len(findings) != 1)}")
        for check, count in counts.items():
            some = [f for f in findings if f.check == check][:show]
            sure = sum(f.certain for f in findings if f.check == check)
            how = f" ({sure} of them certain)" if check == "leak" and sure < count else ""
            emit(f"{check}: {count}{how}", *map(_line, some))
        if agreement is not None:
            emit(_against(agreement, str(groups or "the cache's groups")))
        emit(*(f"wrote {path}" for path in written))
    if done.certain:
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    where = "" if finding.row is None else f"sample {finding.sample} (row {finding.row}): "
    return f"  {where}{finding.detail}"


def _against(agreement: Agreement, groups: str) -> str:
    """How near-duplicates compare with groups, in words."""
    shares = ("-" if share is None else f"{share:.1%}" for share in (agreement.precision, agreement.recall))
    text = f"near-duplicates against {groups}: {next(shares)} of their pairs are of one group, which is {next(shares)} of its"
    if agreement.leaking:
        text += f"; {agreement.found} of {agreement.leaking} validation images whose group is in training are reported"
    return text
