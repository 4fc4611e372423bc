"""Tables in a pipe and on a terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from kptool.cli import output

PROSE = "a sentence of many short words " * 8


def printed(monkeypatch: pytest.MonkeyPatch, *cells: str, terminal: bool = False) -> list[str]:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "80")
    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row(*cells)
    output.emit(table)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("terminal", [False, True])
def test_prose_fits_80_columns_without_trailing_spaces(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    lines = printed(monkeypatch, "name", PROSE, terminal=terminal)
    assert max(map(len, lines)) <= 80
    assert lines == [line.rstrip() for line in lines]
    assert " ".join(" ".join(lines).split()) == f"name {PROSE}".strip()


def test_a_long_name_stays_whole_in_a_pipe_and_whole_but_folded_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "x" * 150
    assert sum(name in line for line in printed(monkeypatch, name, PROSE)) == 1
    folded = printed(monkeypatch, name, PROSE, terminal=True)
    assert max(map(len, folded)) <= 80
    assert "".join(folded).count("x") == 150


@pytest.mark.parametrize("line", [("settings",), ("settings", "vgg"), ("info",), ("info", "unet")])
def test_tables_of_commands_fit(kptool: Any, in_tmp: Path, line: tuple[str, ...]) -> None:
    text = kptool(*line).out.splitlines()
    assert max(map(len, text)) <= max(80, len(str(Path(output.__file__).parents[1] / "weights")) + 40)
    assert not [each for each in text if each != each.rstrip()]
