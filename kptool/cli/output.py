"""The one sink of all output: results on stdout, everything else on stderr, a progress bar where there is a terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from kptool.progress import Progress


def emit_json(document: Any) -> None:
    """One JSON document, and nothing else, on stdout."""
    sys.stdout.write(json.dumps(document, default=_plain, allow_nan=False) + "\n")
    sys.stdout.flush()


def emit(*parts: RenderableType) -> None:
    """Text and tables for people, on stdout."""
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    for part in parts:
        console.print(part, markup=False)


def note(text: str) -> None:
    """A remark on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """A reporter that draws a bar on stderr while the block runs; nothing where stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
