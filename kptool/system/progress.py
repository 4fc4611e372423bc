"""Progress callbacks: the library reports through them, and the command line draws the progress bar."""

from __future__ import annotations

from collections.abc import Callable

EPOCHS = "kptool.training.epochs"
"""The logger of a training's lines, a table with a row per epoch, level INFO."""

REMARKS = "kptool.remarks"
"""The logger of sentences that the command line prints on stderr unless --quiet is given, level INFO."""

FRAMES = "frames"
"""How a report on a video's frames begins."""

Progress = Callable[[str, int, int | None], None]
"""``progress(what, done, total)``; `total` is None if unknown."""


def silent(what: str, done: int, total: int | None) -> None:
    """Ignore the report."""
