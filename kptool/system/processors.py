"""How many threads read and decode pictures at the same time, and how torch's threads wait for each other."""

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

_TURNS = 1000
"""Turns of a loop in which a thread waits awake; GNU OpenMP's default is 300 000."""


def wait_asleep() -> None:
    """Let the threads of GNU OpenMP, with which torch computes, soon sleep when they wait for the others. Has no effect once
    torch is imported, or where the environment says how they wait.

    Where another program holds a processor, one thread waits for the other to get its turn, which it does not while the first
    one wastes its own: beside two other trainings, on two processors, a U-Net learnt from 33 images a second instead of 1.3, and
    alone from 2 to 3 % fewer.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(_TURNS))
