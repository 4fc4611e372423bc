"""How long work reports that it moves, without knowing what a terminal is: the command line draws the bar."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""``progress(what, done, total)``; `total` is None where it is not known."""


def silent(what: str, done: int, total: int | None) -> None:
    """Report to nobody."""
