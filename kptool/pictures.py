"""Which pictures a command's arguments mean, and reading them one after the other without keeping them.

An argument is a picture, a folder of them, a glob, a video, ``camera:0``, or ``-`` for standard input. A picture that
cannot be read is yielded with the reason, so that the others go on.
"""

from __future__ import annotations

import glob
import io
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool import images, video
from kptool.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
_AHEAD, _READERS = 32, 2
_MOST_BYTES = 500_000_000


@dataclass(frozen=True)
class Picture:
    """A picture that was asked for: what it is called, and its pixels or why there are none."""

    name: str
    pixels: NDArray[np.uint8] | None
    error: str = ""


def expand(arguments: Sequence[str]) -> list[str]:
    """The files that arguments mean: folders' pictures by name, globs' matches. Raises DataError where that is none."""
    names: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            below = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not below:
                raise DataError(
                    f"there are no pictures in the folder {argument}; expected {' '.join(sorted(SUFFIXES))}"
                )
            names += map(str, below)
        elif glob.has_magic(argument) and not path.exists():
            matches = sorted(glob.iglob(argument, recursive=True))  # noqa: PTH207 - absolute patterns, too
            if not matches:
                raise DataError(f"no file matches {argument}")
            names += [match for match in matches if Path(match).is_file()]
        else:
            names.append(argument)
    return names


def read(names: Sequence[str], *, frames: int | None = None) -> Iterator[Picture]:
    """Every picture in order, some read ahead; a video gives its frames, called ``file#number``, at most `frames`."""
    with ThreadPoolExecutor(_READERS) as pool:
        waiting: deque[Future[Picture]] = deque()
        for name in names:
            if video.is_video(name):
                yield from (each.result() for each in waiting)
                waiting.clear()
                yield from _frames(name, frames)
                continue
            waiting.append(pool.submit(_read, name))
            if len(waiting) >= _AHEAD:
                yield waiting.popleft().result()
        yield from (each.result() for each in waiting)


def _read(name: str) -> Picture:
    try:
        if name == "-":
            return Picture(name, images.read(io.BytesIO(sys.stdin.buffer.read(_MOST_BYTES)), "standard input"))
        return Picture(name, images.read(Path(name)))
    except DataError as error:
        return Picture(name, None, str(error))


def _frames(name: str, most: int | None) -> Iterator[Picture]:
    try:
        for number, frame in enumerate(video.frames(name, most)):
            yield Picture(f"{name}#{number}", frame)
    except DataError as error:
        yield Picture(name, None, str(error))
