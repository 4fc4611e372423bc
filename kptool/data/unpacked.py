"""Pictures that label files embed, and labelled frames of videos, written to a temporary folder.

The folder lasts until the program ends. What was unpacked once is used again by the same process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from kptool.base.errors import DataError
from kptool.data import png, video

_done: dict[tuple[object, ...], dict[int, Path]] = {}


@cache
def shelf(path: str) -> Path:
    """The temporary folder for the pictures of the label file at `path`. Raises OSError if there is none to be had."""
    return Path(tempfile.mkdtemp(dir=_root()))


@cache
def _root() -> Path:
    """The folder of all temporary folders, removed when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="kptool-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder, but not at the end of a process that was forked from its `owner`."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def once(
    path: Path, part: str, frames: Sequence[int], folder: Path, unpack: Callable[[Path], dict[int, str]]
) -> dict[int, Path]:
    """The picture file in `folder` of each of `frames` in `part` of the file at `path`.

    ``unpack(folder)`` writes the pictures and returns their names by frame; it is called once for each version of the file.
    Raises DataError if a frame is missing, or if there is no room for the pictures.
    """
    wanted = sorted(set(frames))
    try:
        about = path.stat()
        key = (os.path.realpath(path), about.st_size, about.st_mtime_ns, part, folder, *wanted)
        if key not in _done:
            folder.mkdir(parents=True, exist_ok=True)
            _done[key] = {frame: folder / name for frame, name in unpack(folder).items()}
    except OSError as error:
        raise DataError(
            f"the pictures of {path} cannot be unpacked to {folder}: {error.strerror or error}; make room there, or name"
            " another folder in TMPDIR"
        ) from error
    missing = [frame for frame in wanted if frame not in _done[key]]
    if missing:
        raise DataError(
            f"{path} has no frame {missing[0]}, counted from 0, which is labelled; give the video that was labelled"
        )
    return _done[key]


def frames_of_video(path: Path, frames: Sequence[int], folder: Path, *, grey: bool = False) -> dict[int, Path]:
    """The picture file in `folder` of each of `frames`, numbers from 0, of a video.

    The video is decoded from its beginning, as seeking is inexact in many files. Frames without colour become grey pictures,
    and all frames of a `grey` video, which its coding may have tinted. Raises DataError if the video cannot be read or lacks
    a frame, ConfigError if PyAV is not installed.
    """

    def unpack(folder: Path) -> dict[int, str]:
        wanted, names = set(frames), dict[int, str]()
        for frame in video.Video(str(path)).frames():
            if frame.number in wanted:
                pixels, name = frame.pixels, f"{frame.number:06d}.png"
                plain = grey or not np.ptp(pixels, axis=2).any()
                (folder / name).write_bytes(png.encode_png(pixels[..., 0] if plain else pixels))
                names[frame.number] = name
            if frame.number >= max(wanted):
                break
        return names

    return once(path, f"grey {grey}", frames, folder, unpack)
