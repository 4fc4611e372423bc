"""How many threads read and decode pictures at the same time."""

from __future__ import annotations

import os

_LEAST, _MOST = 2, 8
"""One reads while the other decodes; beyond, what is left in Python keeps more of them waiting."""


def available() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS, Windows


READERS = min(max(available(), _LEAST), _MOST)
"""Threads that read pictures."""
