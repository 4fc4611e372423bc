"""``kptool doctor``: check a cache for suspected problems; exit code 1 if any is certain."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kptool.cli.options import DEFAULT_CACHE, CachePath, Json, Plugin
from kptool.cli.output import emit, emit_json, note, progress

if TYPE_CHECKING:
    from kptool.diagnosis.examine import Agreement, Examination, Finding


def doctor(
    cache: CachePath = DEFAULT_CACHE,
    run: Annotated[
        str | None,
        typer.Option(
            help="Compare labels with the out-of-fold predictions of this run; a run of `kptool train --cv` covers every image,"
            " another its validation images. Default: a linear model fitted to the cache.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write an HTML page with pictures.", show_default=False)] = None,
    patch: Annotated[
        Path | None,
        typer.Option(
            help="Write a csv of proposed corrections, to review and pass to `kptool extract --patch`.",
            show_default=False,
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="A csv with columns row,group, of people or videos, to compare near-duplicates with; default: the cache's"
            " groups.",
            show_default=False,
        ),
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="Findings to print per check; --json prints all.")] = 10,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Check a cache for wrong labels, swaps, duplicates and leaks.

    Reports labels far from their expected positions, left and right swapped, labels outside their pictures, images without
    contrast, duplicates, and validation images that are also in training. The cache is not changed. Exit code 1 if a
    finding is certain; similar pictures and keypoints without any label are reported, but do not count.
    """
    from kptool.cache.store import Cache
    from kptool.data.patches import to_text
    from kptool.data.splits import groups_of, read_groups
    from kptool.diagnosis.examine import examine, proposals
    from kptool.system.files import write_text

    with Cache(cache) as opened, progress(quiet=json) as bar:
        found, images = None, len(opened)
        unlabelled = opened.never_labelled()
        notes = [] if unlabelled is None else [unlabelled]
        if run is not None:
            from kptool.evaluation.out_of_fold import out_of_fold

            found, covered = out_of_fold(run, opened, bar)
            if covered < images:
                notes.append(f"{run} covers {covered} of {images} images, those it was not trained on")
        for text in notes:
            note(f"kptool: {text}")
        rows = opened.read("row")
        known = None if groups is None else groups_of(read_groups(groups), rows, groups)
        done = examine(opened, found, bar, known)
        if html is not None:
            from kptool.diagnosis.page import write_page

            write_text(html, write_page(done, opened))
        if patch is not None:
            write_text(patch, to_text(proposals(done.findings, opened), opened.info.names))
    written = [path for path in (html, patch) if path is not None]
    if json:
        document = {"cache": cache, "images": images, "counts": _counts(done), "findings": done.findings}
        document["suspects"] = [int(rows[sample]) for sample in done.suspicion.ranking()[:100]]
        document |= {"near_duplicates": done.agreement, "alike_from": done.threshold, "certain": done.certain}
        emit_json({**document, "wrote": written, "notes": notes})
    else:
        count = len(done.findings)
        emit(f"{cache}: {images} images, {count} finding{'s' * (count != 1)}")
        _print(done, show)
        if done.agreement is not None:
            emit(_against(done.agreement, str(groups or "the cache's groups")))
        emit(*(f"wrote {path}" for path in written))
    if done.certain:
        raise typer.Exit(1)


def _counts(done: Examination) -> dict[str, int]:
    return Counter(finding.check for finding in done.findings)


def _print(done: Examination, show: int) -> None:
    """Print up to `show` findings of each check below their number."""
    for check, count in _counts(done).items():
        findings = [finding for finding in done.findings if finding.check == check]
        certain = sum(finding.certain for finding in findings)
        how = f" ({certain} of them certain)" if check == "leak" and certain < count else ""
        emit(f"{check}: {count}{how}", *map(_line, findings[:show]))


def _line(finding: Finding) -> str:
    where = "" if finding.row is None else f"sample {finding.sample} (row {finding.row}): "
    return f"  {where}{finding.detail}"


def _against(agreement: Agreement, groups: str) -> str:
    """How well near-duplicates agree with groups, in one sentence."""
    precision, recall = ("-" if share is None else f"{share:.1%}" for share in (agreement.precision, agreement.recall))
    text = f"near-duplicates against {groups}: precision {precision} and recall {recall} of same-group pairs"
    if agreement.leaking:
        text += f"; {agreement.found} of {agreement.leaking} validation images whose group is in training are reported"
    return text
