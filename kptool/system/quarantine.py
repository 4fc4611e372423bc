"""Opening HDF5 files in a subprocess, because a corrupt file can crash libhdf5 and the process with it.

A cache is opened there once before it is opened here; label files of other programs are read there alone, see `answer_of`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from kptool.base.errors import CacheError, DataError

_CODE = "import sys, pathlib; from kptool.cache.layout import walk; walk(pathlib.Path(sys.argv[1]))"
_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP", "SIGXCPU")
"""Signals that end a process because of what it did itself; SIGXCPU is the limit that `kptool.cache.layout.walk` sets."""
_checked: set[tuple[int, ...]] = set()
"""Versions of files (see `_version`) that are known to open without a crash."""


def check_opens(path: Path) -> None:
    """Open the cache at `path` in a subprocess, once for each version of the file: 0.3 s, and 2 s for a million chunks.

    Raises CacheError if the subprocess crashes or is killed. Other faults are left to the caller, who opens the file
    next; so is everything if no subprocess can be started.
    """
    version = _version(path)
    if version in _checked or not sys.executable:
        return
    try:
        code, _ = run_isolated(_CODE, path, capture=False)
    except OSError:
        return
    if _ended_by(code, *_CRASHES):
        raise CacheError(f"{path} is damaged: libhdf5 crashes on it; make it again with `kptool extract --force`")
    if _ended_by(code, "SIGKILL"):
        raise CacheError(
            f"{path} could not be checked: the process that opened it was killed, perhaps for lack of memory; free some"
            " memory and try again"
        )
    if code == 0:
        _checked.add(version)


def answer_of(code: str, path: Path, fix: str, *more: str) -> Any:
    """The answer of Python `code` about the file at `path`, from a subprocess: see `run_isolated` for its arguments.

    The code prints its answer as JSON, or as a JSON string the reason why there is none. Raises DataError with that reason, or if
    the subprocess cannot be started or crashes; `fix` ends the sentence.
    """
    try:
        status, answer = run_isolated(code, path, *more)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); {fix}") from error
    try:
        found = json.loads(answer) if status == 0 else "it is damaged"
    except ValueError:
        found = "it is damaged"
    if isinstance(found, str):
        raise DataError(f"{path} cannot be read: {found}; {fix}")
    return found


def run_isolated(code: str, path: Path, *more: str, capture: bool = True) -> tuple[int, bytes]:
    """Run Python `code` in a subprocess; returns its exit status and standard output.

    `path` is its sys.argv[1], followed by `more`. Without `capture` the output is discarded. Raises OSError if no process
    can be started.
    """
    command = [sys.executable, "-P", "-c", code, str(path), *more]  # -P: import nothing from the current folder
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, check=False, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if capture else subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout or b""


def mark_checked(path: Path) -> None:
    """Skip `check_opens` for the file at `path` as it is now, because this process wrote it."""
    _checked.add(_version(path))


def _version(path: Path) -> tuple[int, ...]:
    """Device, inode, size and modification time, which tell whether a file is still the same."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _ended_by(code: int, *names: str) -> bool:
    """Whether exit status `code` means that one of these signals ended the process; not every system has all of them."""
    return -code in {getattr(signal, name) for name in names if hasattr(signal, name)}
