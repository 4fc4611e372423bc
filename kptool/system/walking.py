"""Listing all files below a folder, following symbolic links, which people use to assemble data sets."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from kptool.base.errors import DataError

_MAX_FILES = 5_000_000


def files_below(folder: Path, *, leave_out: str | None = None, broken: bool = False) -> Iterator[Path]:
    """Every file below `folder`, as a path that begins with `folder`, folder by folder; links are followed.

    A folder that can be reached in several ways, or contains itself through a link, is listed once, by a path without
    links if possible. Left out are hidden names (with a leading dot), unreadable folders, subfolders that hold a file
    called `leave_out`, and dangling links unless `broken`.

    Raises DataError for more than five million files.
    """
    real, linked = deque([folder]), deque[Path]()
    seen: set[tuple[int, int]] = set()
    count = 0
    while real or linked:
        current = real.popleft() if real else linked.popleft()
        files, folders, links = _entries(current, seen, broken)
        if leave_out in files and current != folder:
            continue
        count += len(files)
        if count > _MAX_FILES:
            raise DataError(f"{folder} holds more than {_MAX_FILES:,} files; name a smaller folder")
        yield from (current / name for name in files)
        real.extend(current / name for name in folders)
        linked.extend(current / name for name in links)


def _entries(folder: Path, seen: set[tuple[int, int]], broken: bool) -> tuple[list[str], list[str], list[str]]:
    """The sorted names of files, folders and links to folders in `folder`; empty if it was `seen` or is unreadable.

    `seen` holds device and inode of each folder, to which this one is added.
    """
    files, folders, links = list[str](), list[str](), list[str]()
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return files, folders, links
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(entry.name)
                elif entry.is_file() or (broken and entry.is_symlink()):
                    files.append(entry.name)
    except OSError:
        pass
    return sorted(files), sorted(folders), sorted(links)
