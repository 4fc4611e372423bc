"""Which pictures a command's arguments mean, and reading them one after the other without keeping them.

An argument is a picture, a folder of them, a glob, a video, ``camera:0``, or ``-`` for standard input. A picture that
cannot be read is yielded with the reason, so that the others go on.
"""

from __future__ import annotations

import glob
import io
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError, KptoolError
from kptool.data import images, video
from kptool.system.walking import files_below

SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
_AHEAD, _READERS = 32, 2
_MOST_BYTES = 500_000_000


@dataclass(frozen=True)
class Picture:
    """A picture that was asked for: what it is called, and its pixels or why there are none.

    `remarks` say how it was read, see `kptool.data.scaling.sentences`; one with neither pixels nor an error has nothing else, and
    is about a video as a whole. `frame` and `time` (seconds) are where a frame stands in its video.
    """

    name: str
    pixels: NDArray[np.uint8] | None
    error: str = ""
    remarks: tuple[str, ...] = ()
    frame: int | None = None
    time: float | None = None


def expand(arguments: Sequence[str]) -> list[str]:
    """The files that arguments mean: folders' pictures and videos by name, globs' matches, folders among them.

    Symbolic links are followed. Raises DataError where that is none.
    """
    names: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            names += _below(path)
        elif glob.has_magic(argument) and not path.exists():
            matches = sorted(glob.iglob(argument, recursive=True))  # noqa: PTH207 - absolute patterns, too
            if not matches:
                raise DataError(f"no file matches {argument}")
            each = (_below(Path(match), empty=True) if Path(match).is_dir() else [match] for match in matches)
            some = list(dict.fromkeys(name for several in each for name in several))
            if not some:
                raise DataError(f"there are no pictures in the folders that match {argument}")
            names += some
        else:
            names.append(argument)
    return names


def _below(folder: Path, *, empty: bool = False) -> list[str]:
    """The pictures and videos below a folder. Raises DataError where there are none, unless it may be `empty`."""
    below = [p for p in files_below(folder, broken=True) if p.suffix.lower() in SUFFIXES | video.SUFFIXES]
    if not below and not empty:
        raise DataError(f"there are no pictures in the folder {folder}; expected {' '.join(sorted(SUFFIXES))}")
    return [str(place) for place in sorted(below)]


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


def heard(found: Iterable[Picture], remarks: list[tuple[str, tuple[str, ...]]]) -> Iterator[Picture]:
    """The pictures that have pixels or an error; what there is to say of all is added to `remarks`, with their names."""
    for picture in found:
        if picture.remarks:
            remarks.append((picture.name, picture.remarks))
        if picture.pixels is not None or picture.error:
            yield picture


def _read(name: str) -> Picture:
    try:
        if name == "-":
            decoded = images.decode(io.BytesIO(sys.stdin.buffer.read(_MOST_BYTES)), "standard input")
        else:
            decoded = images.decode(Path(name))
        return Picture(name, decoded.pixels, remarks=decoded.remarks)
    except DataError as error:
        return Picture(name, None, str(error))


def _frames(name: str, most: int | None) -> Iterator[Picture]:
    try:
        film = video.Video(name)
        for frame in film.frames(most):
            decoded = images.as_pixels(frame.pixels)
            yield Picture(
                f"{name}#{frame.number}",
                frame.pixels,
                remarks=decoded.remarks,
                frame=frame.number,
                time=frame.time,
            )
        if film.lost:
            yield Picture(name, None, remarks=(film.lost,))
    except KptoolError as error:
        yield Picture(name, None, str(error))
