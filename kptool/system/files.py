"""Writing files so that nothing is ever half there: a temporary one in the same folder, fsync, rename."""

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

_ME = "".join(c for c in platform.node() if c.isalnum()) or "here"
_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux's renameat2."""


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well it takes the place of `path`, else it is removed.

    What a process that was killed left of an earlier try is removed. Raises DataError where the folder cannot be made or
    written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.{_ME}-{os.getpid()}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        sync(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files private; these are meant to be shared
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
    """Replace the file at `path` by `text` in UTF-8, all or nothing; for names that are none see kptool.system.printable."""
    write_bytes(path, printable(text).encode())


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Replace the file at `path` by `data`, all or nothing."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def sha256(paths: tuple[Path, ...]) -> str:
    """The SHA-256 of the files' contents, one after the other, in hexadecimal; of nothing where there are none."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to `folder`, which is made if need be, until the block ends or the process dies.

    Raises ConfigError where another one holds it. Does nothing where the system has no such locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror or error}; choose another folder with --out"
        ) from error
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"another kptool is writing to {folder}; wait for it, or choose another --out") from None


@contextlib.contextmanager
def staged(out: Path, name: str) -> Iterator[Path]:
    """A folder `name` inside `out` to write to, of this process alone; folders that stay empty go again when it fails.

    Raises ConfigError where another process writes to `out`, DataError where the disk does not let this one.
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
    """Let two files or folders, both there, change places: at no moment is either missing, where the system can do that."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    if exchange is not None and exchange(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return
    aside = one.with_name(f".{one.name}.{_ME}-{os.getpid()}.tmp")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def lost_with(target: Path, places: Iterable[Path]) -> Path | None:
    """The first of `places` that would be gone without `target`: it is that file or folder, or lies in it, links followed."""
    gone = {target.resolve(), target.parent.resolve() / target.name}
    for place in places:
        for real in (place.resolve(), place.parent.resolve() / place.name):
            if real in gone or not gone.isdisjoint(real.parents):
                return place
    return None


def _sweep(path: Path) -> None:
    """Remove the temporary files for `path` whose processes, on this machine, are no more."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.{_ME}-*.tmp"):
        number = stale.name.removeprefix(f".{path.name}.{_ME}-").split(".")[0]
        if number.isdigit() and not _alive(int(number)):
            stale.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
