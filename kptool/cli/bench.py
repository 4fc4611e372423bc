"""``kptool bench``: speed and accuracy relative to other implementations and to memory bandwidth."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kptool.base.errors import ConfigError
from kptool.cli.options import Json
from kptool.cli.output import emit, emit_json, note, progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from kptool.bench.before import Key
    from kptool.bench.timing import Row

_WHAT = ("core", "accuracy", "cache", "train", "predict")


def bench(
    what: Annotated[
        list[str] | None,
        typer.Argument(help="Any of core, accuracy, cache, train, predict; or all.", show_default="all"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller workloads and fewer runs; about a minute for all.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the ratios as a bar chart (PNG).", show_default=False)] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write the tables as Markdown; in a folder, to a file for this machine.", show_default=False),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with a run that --json printed before.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Benchmark kptool against other implementations.

    Results are compared first: an implementation that does not agree with kptool fails the benchmark. All figures of a
    ratio are measured in the same run.
    """
    asked = what or ["all"]
    for name in asked:
        if name not in (*_WHAT, "all"):
            raise ConfigError(f"bench measures {', '.join(_WHAT)} or all; got {name!r}")
    from kptool.bench import before
    from kptool.bench.machine import file_name, machine

    earlier = {} if against is None else before.read(against)
    chosen = _WHAT if "all" in asked else tuple(asked)
    rows: list[Row] = []
    with progress(quiet=json) as bar:
        for number, name in enumerate(chosen):
            bar(f"bench {name}", number, len(chosen))
            rows += import_module(f"kptool.bench.{name}").run(quick)
    if plot is not None:
        from kptool.report.charts import bars
        from kptool.report.figures import save

        facts = machine()
        about = f"{facts['cpu']}, {facts['date']}. Medians of runs taken in turns{', a quick run' if quick else ''}."
        save(bars([(f"{row.group}: {row.task} vs {row.peer}", row.ratio) for row in rows], note=about), plot)
        note(f"kptool: wrote {plot}")
    if report is not None:
        from kptool.bench.timing import markdown
        from kptool.system.files import write_text

        report = report / file_name() if report.is_dir() else report
        write_text(report, markdown(f"kptool bench {' '.join(asked)}{' --quick' if quick else ''}", rows))
        note(f"kptool: wrote {report}")
    if json:
        described = [{**row.to_dict(), **before.described(row, earlier)} for row in rows]
        emit_json({"machine": machine(), "rows": described})
        return
    facts = machine()
    about = (
        f"{facts['cpu']}; caches: {facts['caches'] or 'unknown'}; {', '.join(facts['instructions'])}; {facts['date']}"
    )
    emit(f"{about}; ratio: kptool's speed relative to the peer or floor", _table(rows, earlier))
    if against is not None:
        emit(before.summary(rows, earlier))


def _table(rows: list[Row], earlier: Mapping[Key, float]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    heads = ["task", "kptool", "peer or floor", "theirs", "ratio", *(["before"] if earlier else []), "note"]
    for head in heads:
        figures, prose = head in ("kptool", "theirs", "ratio", "before"), head in ("peer or floor", "note")
        table.add_column(head, justify="right" if figures else "left", overflow="fold" if prose else "ellipsis")
    previous = ""
    for row in rows:
        if row.group != previous:
            table.add_row(row.group)
        previous = row.group
        table.add_row(
            f"  {row.task}",
            f"{row.ours:.3g} {row.unit}",
            row.peer,
            f"{row.theirs:.3g} {row.unit}",
            f"{row.ratio:.2f}x",
            *([f"{earlier[row.key]:.2f}x" if row.key in earlier else "-"] if earlier else []),
            row.note,
        )
    if not any(row.note for row in rows):
        table.columns.pop()
    return table
