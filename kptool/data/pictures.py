"""Expands a command's arguments to pictures and streams them in order, in bounded memory.

An argument is a picture, a folder, a glob pattern, a video, ``camera:0``, or ``-`` for standard input. A picture that
cannot be read is yielded with the error, so that the others are still processed.
"""

from __future__ import annotations

import glob
import io
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import DataError, KptoolError
from kptool.data import images, video
from kptool.system.processors import READERS
from kptool.system.walking import files_below

SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
_AHEAD = 32
_MOST_BYTES = 500_000_000


@dataclass(frozen=True)
class InputPicture:
    """A picture or video frame that was read, or the reason why it could not be.

    name: the file, or ``file#number`` for a frame. pixels: uint8, grey (H, W) or RGB (H, W, 3), or None. error: why there
    are no pixels. remarks: on how it was read, see `kptool.data.intensity.remark_notes`; with neither pixels nor error they
    are about a video as a whole. frame, time: the frame's index in its video and its time in seconds. of: the number of
    frames that the video has, if known. video: the video's name; "" for pictures, which may be a sequence.
    """

    name: str
    pixels: NDArray[np.uint8] | None
    error: str = ""
    remarks: tuple[str, ...] = ()
    frame: int | None = None
    time: float | None = None
    of: int | None = None
    video: str = ""


def by_number(names: Sequence[str]) -> list[str]:
    """File names sorted by the numbers in them: frame2.png before frame10.png."""

    def key(name: str) -> list[tuple[int, int, str]]:
        parts = re.split(r"([0-9]+)", name)
        return [(0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts]

    return sorted(names, key=key)


def expand(arguments: Sequence[str]) -> list[str]:
    """The file names that arguments stand for; folders and matching folders give their pictures and videos, sorted.

    Symbolic links are followed. Raises DataError for a folder or pattern without pictures.
    """
    names: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            names += _below(path)
        elif glob.has_magic(argument) and not path.exists():
            matches = sorted(glob.iglob(argument, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
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


def expand_counted(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """As `expand`, and for each folder and pattern how much was found, such as "312 pictures in photos"."""
    names: list[str] = []
    counts = []
    for argument in arguments:
        some = expand([argument])
        names += some
        folder = Path(argument).is_dir()
        if folder or (glob.has_magic(argument) and not Path(argument).exists()):
            films = sum(video.is_video(name) for name in some)
            kinds = [(len(some) - films, "picture"), (films, "video")]
            what = " and ".join(f"{n} {kind}{'s' * (n != 1)}" for n, kind in kinds if n)
            counts.append(f"{what} {'in' if folder else 'matching'} {argument}")
    return names, tuple(counts)


def _below(folder: Path, *, empty: bool = False) -> list[str]:
    """The pictures and videos below a folder, sorted. Raises DataError if there are none, unless it may be `empty`."""
    below = [p for p in files_below(folder, broken=True) if p.suffix.lower() in SUFFIXES | video.SUFFIXES]
    if not below and not empty:
        raise DataError(f"there are no pictures in the folder {folder}; expected {' '.join(sorted(SUFFIXES))}")
    return [str(place) for place in sorted(below)]


def read(names: Sequence[str], *, frames: int | None = None, fps: float | None = None) -> Iterator[InputPicture]:
    """Every picture in order, some read ahead; a video yields its frames, at most `frames` of them.

    With `fps`, pictures are frames that are taken as many times a second, from time 0; there must not be any videos.
    """
    if fps is not None:
        some = names[:frames]
        for number, picture in enumerate(read(some)):
            yield replace(picture, frame=number, time=round(number / fps, 6), of=len(some))
        return
    with ThreadPoolExecutor(READERS) as pool:
        waiting: deque[Future[InputPicture]] = deque()
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


def collect_remarks(
    found: Iterable[InputPicture], remarks: list[tuple[str, tuple[str, ...]]]
) -> Iterator[InputPicture]:
    """The pictures that have pixels or an error; appends the remarks of all of them to `remarks`, with their names."""
    for picture in found:
        if picture.remarks:
            remarks.append((picture.name, picture.remarks))
        if picture.pixels is not None or picture.error:
            yield picture


def _read(name: str) -> InputPicture:
    try:
        if name == "-":
            decoded = images.decode(io.BytesIO(sys.stdin.buffer.read(_MOST_BYTES)), "standard input")
        else:
            decoded = images.decode(Path(name))
        return InputPicture(name, decoded.pixels, remarks=decoded.remarks)
    except DataError as error:
        return InputPicture(name, None, str(error))


def _frames(name: str, most: int | None) -> Iterator[InputPicture]:
    try:
        film = video.Video(name)
        for frame in film.frames(most):
            of = min(film.count, most or film.count) if film.count else most
            decoded = images.as_pixels(frame.pixels)
            yield InputPicture(
                f"{name}#{frame.number}",
                frame.pixels,
                remarks=decoded.remarks,
                frame=frame.number,
                time=frame.time,
                of=of,
                video=name,
            )
        if film.lost:
            yield InputPicture(name, None, remarks=(film.lost,))
    except KptoolError as error:
        yield InputPicture(name, None, str(error))
