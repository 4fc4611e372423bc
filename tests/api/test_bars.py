"""Progress bars on terminals and in notebooks."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from kptool.api import bars


class Handle:
    """What IPython returns for a display that is updated."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, html: str) -> None:
        self.shown.append(html)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Handle:
    """Simulate a notebook's kernel."""
    handle = Handle()
    display = SimpleNamespace(HTML=str, display=lambda html, display_id: handle)
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return handle


def test_a_notebook_shows_a_bar_until_the_end(notebook: Handle) -> None:
    with bars.showing(None) as bar:
        for done in range(1000):
            bar("<rows>", done, 999)
        bar("rows", 5, None)
    assert '<progress value="999" max="999"></progress> <span>&lt;rows&gt; 999/999</span>' in notebook.shown
    assert len(notebook.shown) < 100
    assert notebook.shown[-1] == ""


def test_the_bar_disappears_after_an_error(notebook: Handle) -> None:
    with pytest.raises(ZeroDivisionError), bars.showing(True) as bar:
        bar("rows", 1 // 0, 3)
    assert notebook.shown[-1] == ""


def test_false_shows_nothing(notebook: Handle, capsys: pytest.CaptureFixture[str]) -> None:
    with bars.showing(False) as bar:
        bar("rows", 1, 1)
    assert notebook.shown == []
    assert capsys.readouterr().err == ""


def test_without_a_terminal_only_true_shows_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    for asked in (None, True):
        with bars.showing(asked) as bar:
            bar("rows", 1, 1)
        assert ("rows" in capsys.readouterr().err) == bool(asked)


def test_a_function_is_called_instead() -> None:
    seen: list[Any] = []
    with bars.showing(lambda *report: seen.append(report)) as bar:
        bar("rows", 1, 2)
    assert seen == [("rows", 1, 2)]
