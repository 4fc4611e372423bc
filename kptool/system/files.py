"""Atomic file writes (a temporary file in the same folder, fsync, rename), staging folders and locks."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from kptool.base.errors import ConfigError, DataError
from kptool.system.printable import printable

_HOST = "".join(c for c in platform.node() if c.isalnum()) or "here"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux's renameat2."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` if the block succeeds, and is removed if it does not.

    Also removes temporary files that a killed process left behind. Raises DataError if the folder cannot be created or
    written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.{_HOST}-{os.getpid()}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        sync(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes the file private; this one is an ordinary file
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}; choose another place with --out"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Atomically replace the file at `path` by `text` in UTF-8; undecodable file names are escaped, see `printable`."""
    write_bytes(path, printable(text).encode())


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Atomically replace the file at `path` by `data`."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def sha256(paths: tuple[Path, ...]) -> str:
    """The SHA-256 of the files' concatenated contents, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on `folder`, created if missing, until the block ends or the process dies.

    Raises ConfigError if another process holds it, DataError if the folder cannot be created. Windows: no lock is taken.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror or error}; choose another folder with --out"
        ) from error
    try:
        lock(handle, folder, "--out")
        yield
    finally:
        os.close(handle)


def lock(handle: int, path: Path, option: str) -> None:
    """Lock the opened file or folder at `path` until `handle` is closed. Raises ConfigError, naming the `option` that chooses
    another, if another process holds it. Windows: no lock is taken."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"another kptool is writing to {path}; wait for it, or choose another {option}") from None


@contextlib.contextmanager
def staged(out: Path, name: str) -> Iterator[Path]:
    """Lock `out` and yield an empty folder `name` inside it to write to; the folder is deleted when the block ends.

    Folders that were created for it and are empty at the end are deleted, too. Raises ConfigError if another process
    writes to `out`, and DataError for an error of the file system.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    staging = out / name
    try:
        with locked(out):
            try:
                shutil.rmtree(staging, ignore_errors=True)
                staging.mkdir()
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{out} cannot be written: {error.strerror or error}; choose another folder with --out"
        ) from error
    finally:
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def swap(one: Path, other: Path) -> None:
    """Exchange two existing files or folders: atomically on Linux, by three renames elsewhere."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    paths = os.fsencode(one), os.fsencode(other)
    if exchange is not None and exchange(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return
    aside = one.with_name(f".{one.name}.{_HOST}-{os.getpid()}.tmp")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def first_inside(target: Path, paths: Iterable[Path]) -> Path | None:
    """The first of `paths` that is `target` or lies inside it, symbolic links followed or not; None if there is none."""
    targets = {target.resolve(), target.parent.resolve() / target.name}
    for path in paths:
        for real in (path.resolve(), path.parent.resolve() / path.name):
            if real in targets or not targets.isdisjoint(real.parents):
                return path
    return None


def _sweep(path: Path) -> None:
    """Remove temporary files for `path` whose process ran on this machine and has ended."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.{_HOST}-*.tmp"):
        process = stale.name.removeprefix(f".{path.name}.{_HOST}-").split(".")[0]
        if process.isdigit() and not _alive(int(process)):
            stale.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it exists and belongs to another user
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
