"""Progress callbacks: the library reports through them, and the command line draws the progress bar."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""``progress(what, done, total)``; `total` is None if unknown."""


def silent(what: str, done: int, total: int | None) -> None:
    """Ignore the report."""
