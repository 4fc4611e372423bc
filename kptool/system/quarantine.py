"""A cache is first opened by a process that may die: what is wrong with an HDF5 file can crash the library that reads it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from kptool.base.errors import CacheError

_CODE = "import sys, pathlib; from kptool.cache.layout import walk; walk(pathlib.Path(sys.argv[1]))"
_DEADLY = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP", "SIGXCPU")
"""Signals that a process ends of by its own fault."""
_survived: set[tuple[int, ...]] = set()


def survive(path: Path) -> None:
    """Open the cache at `path` in another process, once for each file as it is: about 0.3 s, and 2 s for a million chunks.

    Raises CacheError where that process dies of it. Whatever else is wrong, opening it here will say; where no other
    process can be had, it is opened as it is.
    """
    mark = _mark(path)
    if mark in _survived or not sys.executable:
        return
    try:
        code, _ = apart(_CODE, path, answers=False)
    except OSError:
        return
    if _ended_by(code, *_DEADLY):
        raise CacheError(f"{path} is damaged: HDF5 itself fails on it; make it again with `kptool extract --force`")
    if _ended_by(code, "SIGKILL"):
        raise CacheError(f"{path} could not be looked at: the process that did was killed, for its memory perhaps")
    if code == 0:
        _survived.add(mark)


def apart(code: str, path: Path, *, answers: bool = True) -> tuple[int, bytes]:
    """Run Python `code` about `path`, its sys.argv[1], in a process of its own: how that ended, and what it printed.

    Raises OSError where no process can be had.
    """
    command = [sys.executable, "-P", "-c", code, str(path)]  # -P: the current folder may be a stranger's, too
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, check=False, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if answers else subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout or b""


def trust(path: Path) -> None:
    """Take the file at `path`, as it is now, for one that `survive` has seen: this process wrote it."""
    _survived.add(_mark(path))


def _mark(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _ended_by(code: int, *names: str) -> bool:
    """Whether a process ended by one of these signals, as far as the system has them."""
    return -code in {getattr(signal, name) for name in names if hasattr(signal, name)}
