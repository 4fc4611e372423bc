"""A cache is first opened by a process that may die: what is wrong with an HDF5 file can crash the library that reads it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from kptool.errors import CacheError

_SECONDS = 60
_WINDOWS_CRASH = 0xC0000000
_CODE = "import sys, pathlib; from kptool.cachefile import walk; walk(pathlib.Path(sys.argv[1]))"
_survived: set[tuple[int, ...]] = set()


def survive(path: Path) -> None:
    """Open the cache at `path` in another process, once for each file as it is: about a quarter of a second.

    Raises CacheError where that process dies of it, or takes a minute. Whatever else is wrong, opening it here will say.
    """
    if _mark(path) in _survived or not sys.executable:
        return
    command = [sys.executable, "-c", _CODE, str(path)]
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        ran = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": paths}, timeout=_SECONDS, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        died = ran.returncode >= _WINDOWS_CRASH or -ran.returncode in _deadly()
    except subprocess.TimeoutExpired:
        died = True
    if died:
        raise CacheError(f"{path} is damaged: HDF5 itself fails on it; make it again with `kptool extract --force`")
    trust(path)


def trust(path: Path) -> None:
    """Take the file at `path`, as it is now, for one that `survive` has seen: this process wrote it."""
    _survived.add(_mark(path))


def _mark(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _deadly() -> set[int]:
    """Signals that a process ends of by its own fault; not Ctrl-C, which reaches it as well."""
    names = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP", "SIGKILL", "SIGXCPU")
    return {getattr(signal, name) for name in names if hasattr(signal, name)}
