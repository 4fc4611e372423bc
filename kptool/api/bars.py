"""Progress bars: on terminals one line on stderr, in notebooks a bar below the cell."""

from __future__ import annotations

import contextlib
import html
import importlib
import sys
import time
from collections.abc import Iterator
from typing import Any

from kptool.system.progress import FRAMES, Progress, silent

_INTERVAL = 0.1
"""Least seconds between two updates in a notebook."""


@contextlib.contextmanager
def showing(progress: bool | Progress | None) -> Iterator[Progress]:
    """A reporter that shows progress while the block runs.

    `progress` is None for a bar if this is a notebook or stderr is a terminal, True for a bar in any case (on a stream that
    is no terminal, rich prints it once, at the end), False for none, or a function to call instead.
    """
    if callable(progress):
        yield progress
    elif progress is not False and in_notebook():
        with _notebook_bar() as bar:
            yield bar
    elif progress or (progress is None and sys.stderr.isatty()):
        with _terminal_bar() as bar:
            yield bar
    else:
        yield silent


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


@contextlib.contextmanager
def _terminal_bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Speed(ProgressColumn):
        """Frames per second of a video; empty for anything else."""

        def render(self, task: Task) -> Text:
            shown = task.speed is not None and task.description.startswith(FRAMES)
            return Text(f"{task.speed:.1f}/s" if shown else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int | None) -> None:
            if what.startswith(FRAMES) and bar.tasks[0].description not in ("", what):
                bar.reset(task)  # another video, whose time left does not follow from this one's
            bar.update(task, description=what, completed=done, total=total)

        yield show


@contextlib.contextmanager
def _notebook_bar() -> Iterator[Progress]:
    """A bar of HTML, which needs no widgets; it disappears at the end."""
    display: Any = importlib.import_module("IPython.display")
    handle = display.display(display.HTML(""), display_id=True)
    last = 0.0

    def show(what: str, done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _INTERVAL or done == total:
            last = now
            handle.update(display.HTML(_bar(what, done, total)))

    try:
        yield show
    finally:
        handle.update(display.HTML(""))


def _bar(what: str, done: int, total: int | None) -> str:
    if total is None:
        return f"<span>{html.escape(what)}: {done}</span>"
    return f'<progress value="{done}" max="{max(total, 1)}"></progress> <span>{html.escape(what)} {done}/{total}</span>'
