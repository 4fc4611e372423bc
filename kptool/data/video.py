"""Videos and webcams, where OpenCV is installed: ``pip install 'kptool[video]'``.

A frame keeps its place when others are lost: its number is that of its presentation time, on which OpenCV goes by the
file's times, or by the index of an AVI file, which has none.
"""

from __future__ import annotations

import bisect
import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kptool.base.errors import ConfigError, DataError
from kptool.data import avi
from kptool.system.printable import printable

SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"}
_ESTIMATED = {".mkv", ".webm", ".mpg", ".mpeg"}
"""State how long they are, and not how many frames they hold."""
_TRIES = 1000
"""Frames in a row that cannot be decoded, after which the file is taken to be at its end."""
_LOOKED_AT, _OFF_GRID = 256, 0.2
_MOST_PLACES = 5


@dataclass(frozen=True)
class Frame:
    """pixels: uint8 (H, W, 3) in RGB. number: from 0, its place in the video. time: seconds from the beginning."""

    pixels: NDArray[np.uint8]
    number: int
    time: float


def is_video(name: str) -> bool:
    """Whether a name means a video file or a webcam (``camera:0``)."""
    return name.startswith("camera:") or Path(name).suffix.lower() in SUFFIXES


class Video:
    """An open video file or webcam. `lost` says, once `frames` has ended, what could not be read; empty for nothing.

    Raises DataError where it cannot be opened, ConfigError where OpenCV is not installed.
    """

    def __init__(self, name: str) -> None:
        self._cv2, self._name, self.lost = _opencv(), name, ""
        number = name.removeprefix("camera:")
        self._camera = name != number
        if self._camera and not (number.isascii() and number.isdigit() and len(number) < 9):
            raise DataError(f"a webcam is camera:0, camera:1, ...; got {name}")
        if not self._camera and not Path(name).is_file():
            raise DataError(f"there is no video {name}")
        if printable(name) != name:
            raise DataError(f"OpenCV opens no video whose name is not UTF-8; rename {name}")
        self._capture = _opened(self._cv2, int(number) if self._camera else name)
        if not self._capture.isOpened():
            self._capture.release()
            raise DataError(
                f"there is no {name}: no webcam of that number can be opened; connect it, or give another number"
                if self._camera
                else _UNREADABLE.format(name)
            )

    def frames(self, most: int | None = None) -> Iterator[Frame]:
        """The frames, at most so many. Raises DataError where there is none."""
        try:
            numbers = list[int]()
            for frame in self._live() if self._camera else self._stored():
                if numbers and most is not None and len(numbers) >= most:
                    break
                numbers.append(frame.number)
                yield frame
            else:
                most = None
            if not numbers:
                raise DataError(_UNREADABLE.format(self._name))
            self.lost = "" if self._camera else self._missing(numbers, whole=most is None)
        finally:
            self._capture.release()

    def _live(self) -> Iterator[Frame]:
        started = None
        for number in itertools.count():
            there, frame = self._capture.read()
            if not there:
                return
            now = time.monotonic()
            started = now if started is None else started
            yield Frame(np.ascontiguousarray(frame[:, :, ::-1]), number, round(now - started, 6))

    def _stored(self) -> Iterator[Frame]:
        cv2, capture = self._cv2, self._capture
        places, fps = _Places(cv2, self._name), float(capture.get(cv2.CAP_PROP_FPS))
        failed = 0
        while failed < _TRIES:
            there, frame = capture.read()
            failed = 0 if there else failed + 1
            if there:
                number = places.next(float(capture.get(cv2.CAP_PROP_PTS)))
                seconds = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                if (places.indexed or (number and not seconds > 0)) and fps > 0:
                    seconds = number / fps
                yield Frame(np.ascontiguousarray(frame[:, :, ::-1]), number, round(max(seconds, 0), 6))

    def _missing(self, numbers: Sequence[int], *, whole: bool) -> str:
        """What is missing between the frames, and, where the file was read to its end, after the last."""
        count = float(self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT))
        stated = int(count) if whole and 0 < count < 1e9 else 0
        end = numbers[-1] + 1
        if Path(self._name).suffix.lower() in _ESTIMATED and stated - end <= max(2, 0.02 * stated):
            stated = 0
        gaps = [(a + 1, b - 1) for a, b in itertools.pairwise([-1, *numbers, max(end, stated)]) if b - a > 1]
        if not gaps:
            return ""
        places = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:_MOST_PLACES])
        more = f" and {len(gaps) - _MOST_PLACES} more gaps" if len(gaps) > _MOST_PLACES else ""
        what = f"{len(numbers)} of {max(end, stated)} frames could be read, and keep their numbers"
        return f"{what}; missing, counted from 0: {places}{more}"


_UNREADABLE = "{} cannot be read as a video; it may be damaged, or of a kind OpenCV does not know"


class _Places:
    """Gives the frames that are decoded their numbers, one after the other."""

    def __init__(self, cv2: Any, name: str) -> None:
        self._whole = avi.surviving(Path(name)) if name.lower().endswith(".avi") else []
        self.indexed = bool(self._whole)
        self._times, self._even = ([], False) if self.indexed else _packets(cv2, name)
        self._done, self._last = 0, -1

    def next(self, pts: float) -> int:
        """The number of the next frame, whose presentation time is `pts` in units of a frame."""
        number = self._last + 1
        if self.indexed:
            past = self._done - len(self._whole)
            number = self._whole[self._done] if past < 0 else self._whole[-1] + 1 + past
        elif self._times and math.isfinite(pts):
            number = round(pts - self._times[0]) if self._even else bisect.bisect_left(self._times, pts - 1e-3)
        self._done, self._last = self._done + 1, max(number, self._last + 1)
        return self._last


def _packets(cv2: Any, name: str) -> tuple[list[float], bool]:
    """Presentation times of what is to be decoded, sorted, in units of a frame, and whether they are evenly spaced.

    Nothing is decoded. Of evenly spaced ones the first few are enough.
    """
    capture = _opened(cv2, name)
    times = list[float]()
    try:
        if not capture.set(cv2.CAP_PROP_FORMAT, -1):
            return [], False
        even = True
        while (len(times) < _LOOKED_AT or not even) and capture.grab():
            times.append(float(capture.get(cv2.CAP_PROP_PTS)))
            even = even and abs(times[-1] - times[0] - round(times[-1] - times[0])) < _OFF_GRID
    finally:
        capture.release()
    times.sort()
    return (times, even) if len(set(times)) == len(times) else ([], False)


def _opened(cv2: Any, source: int | str) -> Any:
    """OpenCV's capture of a file or webcam, without its lines on stderr: kptool says itself what went wrong."""
    logging = cv2.utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(source)
    finally:
        logging.setLogLevel(before)


def _opencv() -> Any:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg's lines, likewise
    try:
        import cv2
    except ImportError as error:
        raise ConfigError("videos and webcams need OpenCV: pip install 'kptool[video]'") from error
    return cv2
