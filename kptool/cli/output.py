"""All output of the command line: results on stdout, everything else on stderr, a progress bar on terminals."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from kptool.system.printable import harmless, printable, printable_all
from kptool.system.progress import EPOCHS, REMARKS, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

_PIPE = 80
"""Width of tables when stdout is not a terminal; more only where a name or a word needs it."""
_UNLIMITED = 10_000
"""Width at which tables are measured."""


def emit_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    plain = printable_all(json.loads(json.dumps(document, default=_plain, allow_nan=False)))
    _write(sys.stdout, json.dumps(plain) + "\n")


def emit(*parts: str | Table) -> None:
    """Print text and tables on stdout. Nothing in them is interpreted as markup, whatever a file is called.

    A table's title is printed above it as a line of its own, which is never wrapped. Where stdout is not a terminal, a
    table is 80 columns wide: columns with overflow "fold", which hold prose, are wrapped, and all others stay whole,
    since they may hold names of files.
    """
    for part in parts:
        if isinstance(part, str):
            _write(sys.stdout, harmless(part) + "\n")
        else:
            _table(part)


def emit_text(text: str) -> None:
    """Print a text meant for a file, such as a csv, on stdout, byte for byte."""
    _write(sys.stdout, printable(text))


def note(text: str) -> None:
    """Print a remark on stderr, unless --quiet was given."""
    if not _quiet():
        complain(text)


def complain(text: str) -> None:
    """Print an error on stderr."""
    _write(sys.stderr, harmless(text) + "\n")


class _Messages(logging.Handler):
    """Prints the library's log messages on stderr, the lines of a training without a prefix."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        complain(record.getMessage() if record.name == EPOCHS else f"kptool: {record.getMessage()}")


def print_messages(*, verbose: bool = False, quiet: bool = False) -> None:
    """Print the library's warnings on stderr; with `verbose` its informational messages too, with `quiet` only errors.

    `quiet` also turns off `note` and `progress`.
    """
    level = logging.ERROR if quiet else logging.WARNING
    logging.basicConfig(level=level, handlers=[_Messages()], force=True)
    for name in ("kptool", EPOCHS):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.NOTSET)
    logging.getLogger(REMARKS).setLevel(logging.NOTSET if quiet else logging.INFO)


def print_epochs() -> None:
    """Print the lines of a training as well, unless --quiet was given."""
    if not _quiet():
        logging.getLogger(EPOCHS).setLevel(logging.INFO)


def _quiet() -> bool:
    return not logging.getLogger().isEnabledFor(logging.WARNING)


def _table(table: Table) -> None:
    from rich import box
    from rich.console import Console

    title, table.title = table.title, None
    if title is not None:
        emit(str(title))
    terminal = sys.stdout.isatty()
    prose = [column for column in table.columns if column.overflow == "fold"]
    for column in table.columns:
        column.no_wrap = column.no_wrap or not (terminal or column in prose)
        column.overflow = "fold"  # a truncated number would be a wrong number
    if table.box is not None and not _encoding(sys.stdout).lower().startswith("utf"):
        table.box = box.ASCII2
    text = io.StringIO()
    console = Console(file=text, markup=False, emoji=False, highlight=False, force_terminal=False)
    if not terminal:
        console.width = _UNLIMITED
        console.width = max(_PIPE, console.measure(table).maximum - sum(_slack(console, column) for column in prose))
    console.print(table)
    _write(sys.stdout, "\n".join(line.rstrip() for line in harmless(text.getvalue()).split("\n")))


def _slack(console: Console, column: Column) -> int:
    """How much narrower a column can be, if it is wrapped between words."""
    cells = [console.measure(cell) for cell in (column.header, *column.cells)]
    return max(cell.maximum for cell in cells) - max(cell.minimum for cell in cells)


def _encoding(stream: TextIO) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _write(stream: TextIO, text: str) -> None:
    """Write text; characters missing in the stream's encoding become Python escapes."""
    encoding = _encoding(stream)
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def wanted(json: bool = False) -> Literal[False] | None:
    """The `progress` of the functions in `kptool.api`: None, for a bar on a terminal, or False with --json or --quiet."""
    return False if json or _quiet() else None


def progress(quiet: bool = False) -> AbstractContextManager[Progress]:
    """A reporter that draws a progress bar on stderr; does nothing if `quiet`, with --quiet, or if stderr is not a terminal."""
    from kptool.api import bars

    return bars.showing(wanted(quiet))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serialisable")
