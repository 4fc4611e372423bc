"""``kptool doctor``: check a cache for suspected problems; exit code 1 if any is certain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kptool.api.arguments import DEFAULT_CACHE
from kptool.cli.options import CachePath, Json, Plugin
from kptool.cli.output import emit, emit_json, wanted

if TYPE_CHECKING:
    from kptool.api.doctor import DoctorResult
    from kptool.diagnosis.examine import Agreement, Finding


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
    from kptool.api.doctor import doctor as call

    done = call(cache, run=run, html=html, patch=patch, groups=groups, progress=wanted(json))
    if json:
        emit_json(done.to_dict())
    else:
        count = len(done.findings)
        emit(f"{cache}: {len(done.rows)} images, {count} finding{'s' * (count != 1)}")
        _print(done, show)
        if done.agreement is not None:
            emit(_against(done.agreement, str(groups or "the cache's groups")))
        emit(*(f"wrote {path}" for path in done.wrote))
    if done.certain:
        raise typer.Exit(1)


def _print(done: DoctorResult, show: int) -> None:
    """Print up to `show` findings of each check below their number."""
    for check, count in done.counts.items():
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
