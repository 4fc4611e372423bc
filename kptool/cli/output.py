"""The one sink of all output: results on stdout, everything else on stderr, a progress bar where there is a terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from kptool.system.printable import harmless, printable, printable_all
from kptool.system.progress import Progress

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 10_000
"""Columns of what is no terminal: nothing is folded in a file."""


def emit_json(document: Any) -> None:
    """One JSON document, and nothing else, on stdout."""
    plain = printable_all(json.loads(json.dumps(document, default=_plain, allow_nan=False)))
    _write(sys.stdout, json.dumps(plain) + "\n")


def emit(*parts: str | Table) -> None:
    """Text and tables for people, on stdout, each as it is: nothing in them is markup, whatever a file is called.

    A table's title stands above it as a line of its own, which is never broken.
    """
    for part in parts:
        if isinstance(part, str):
            _write(sys.stdout, harmless(part) + "\n")
        else:
            _table(part)


def emit_text(text: str) -> None:
    """A text that is a file's, such as a csv, on stdout, byte for byte."""
    _write(sys.stdout, printable(text))


def note(text: str) -> None:
    """A remark on stderr."""
    _write(sys.stderr, harmless(text) + "\n")


class Notes(logging.Handler):
    """What the library logs, as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        note(self.format(record))


def _table(table: Table) -> None:
    from rich import box
    from rich.console import Console

    title, table.title = table.title, None
    if title is not None:
        emit(str(title))
    for column in table.columns:
        column.overflow = "fold"  # a number that is cut off is another number
    if table.box is not None and not _encoding(sys.stdout).lower().startswith("utf"):
        table.box = box.ASCII2
    text = io.StringIO()
    width = None if sys.stdout.isatty() else _WIDE
    Console(file=text, width=width, markup=False, emoji=False, highlight=False, force_terminal=False).print(table)
    _write(sys.stdout, harmless(text.getvalue()))


def _encoding(stream: TextIO) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _write(stream: TextIO, text: str) -> None:
    """Write what the stream's encoding has no character for as Python's escapes."""
    encoding = _encoding(stream)
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """A reporter that draws a bar on stderr while the block runs; nothing where stderr is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
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
