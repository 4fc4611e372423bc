"""All files below a folder, through symbolic links as well: a link that somebody put into their data is meant."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from kptool.base.errors import DataError

_MOST = 5_000_000


def files_below(folder: Path, *, leave_out: str | None = None, broken: bool = False) -> Iterator[Path]:
    """Every file below `folder`, as a path that begins with it, folder by folder; links to files and folders count.

    A folder that is there twice, or in itself by a link, is walked once, and not through the link where both would do.
    What is hidden, its name beginning with a dot, and what must not be read are passed over; so are links that lead
    nowhere, unless `broken` ones are wanted, and folders below `folder` that hold a file called `leave_out`.

    Raises DataError above five million files.
    """
    real, linked = deque([folder]), deque[Path]()
    seen: set[tuple[int, int]] = set()
    count = 0
    while real or linked:
        place = real.popleft() if real else linked.popleft()
        files, folders, links = _listed(place, seen, broken)
        if leave_out in files and place != folder:
            continue
        count += len(files)
        if count > _MOST:
            raise DataError(f"{folder} holds more than {_MOST:,} files; name a smaller folder")
        yield from (place / name for name in files)
        real.extend(place / name for name in folders)
        linked.extend(place / name for name in links)


def _listed(place: Path, seen: set[tuple[int, int]], broken: bool) -> tuple[list[str], list[str], list[str]]:
    """The names of files, of folders, and of links to folders in a folder, sorted; none of one that was `seen`."""
    files, folders, links = list[str](), list[str](), list[str]()
    try:
        about = place.stat()
        if (about.st_dev, about.st_ino) in seen:
            return files, folders, links
        seen.add((about.st_dev, about.st_ino))
        with os.scandir(place) as entries:
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
